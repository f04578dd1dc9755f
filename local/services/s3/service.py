"""What the folder of S3 declares to the local cloud."""

from __future__ import annotations

from local.parts import Service
from local.services.s3.notifications import ObjectEvents
from local.services.s3.permissions import BucketPolicies
from local.services.s3.resources import KINDS
from local.services.s3.rights import NEEDS, READERS

SERVICE = Service(
    parts={"bucket_policies": BucketPolicies, "object_events": ObjectEvents},
    kinds=KINDS,
    needs=NEEDS,
    readers=READERS,
)
