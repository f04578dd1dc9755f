"""Bucket policies with their conditions, which moto leaves out."""

from __future__ import annotations

import json

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket

from local.parts import Part
from local.policies import SECURE, decide


class BucketPolicies(Part):
    """Judge bucket policies as IAM does."""

    def start(self) -> None:
        """Put this judgement in the place of moto's."""

        def get_permission(bucket: FakeBucket, action: str, resource: str) -> PermissionResult:
            if bucket.policy is None:
                return PermissionResult.NEUTRAL
            if decide(json.loads(bucket.policy), action, resource, SECURE) == "Deny":
                return PermissionResult.DENIED
            # moto would take an Allow for one principal as an Allow for everyone.
            return PermissionResult.NEUTRAL

        self._seams.replace(FakeBucket, "get_permission", get_permission)
