"""The events that S3 sends to EventBridge about the objects of its buckets."""

from __future__ import annotations

import uuid
from typing import Any

from moto.s3 import notifications

from local.parts import Part

# S3 User Guide, "EventBridge event message structure": what `reason` says, by the API's event.
CREATED_REASONS = {
    "s3:ObjectCreated:Put": "PutObject",
    "s3:ObjectCreated:Post": "POST Object",
    "s3:ObjectCreated:Copy": "CopyObject",
    "s3:ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
}
DELETED_TYPES = {
    "s3:ObjectRemoved:Delete": "Permanently Deleted",
    "s3:ObjectRemoved:DeleteMarkerCreated": "Delete Marker Created",
}


class ObjectEvents(Part):
    """Emit an event for each object that is created or deleted, where the bucket asks for it."""

    def start(self) -> None:
        """Put these events in the place of moto's."""
        objects = self

        def send_event_bridge_message(account: str, bucket: Any, name: str, key: Any) -> None:
            del account
            objects._emit(bucket, str(getattr(name, "value", name)), key)

        self._seams.replace(notifications, "_send_event_bridge_message", send_event_bridge_message)

    def _emit(self, bucket: Any, name: str, key: Any) -> None:
        """Emit S3's event about an object (S3 User Guide, "EventBridge event structure")."""
        thing = {"key": key.name}
        more: dict[str, Any]
        if name in CREATED_REASONS:
            kind, more = "Object Created", {"reason": CREATED_REASONS[name]}
            thing |= {"size": key.size, "etag": key.etag.strip('"')}
        elif name in DELETED_TYPES:
            kind = "Object Deleted"
            more = {"reason": "DeleteObject", "deletion-type": DELETED_TYPES[name]}
        else:
            return
        version = getattr(key, "version_id", None)
        if version and bucket.is_versioned:
            thing["version-id"] = version
        thing["sequencer"] = f"{int(self._cloud.clock.now() * 1e6):016X}"
        detail = {
            "version": "0",
            "bucket": {"name": bucket.name},
            "object": thing,
            "request-id": uuid.uuid4().hex[:16].upper(),
            "requester": self._cloud.account,
            "source-ip-address": "127.0.0.1",
            **more,
        }
        self._cloud.events.emit("aws.s3", kind, detail, [bucket.arn])
