"""What calls to SNS need (see `local.rights`)."""

from __future__ import annotations

from collections.abc import Iterator

from moto.sns.models import sns_backends

from local.rights import Call, Judge, Need


def _publish(call: Call) -> Iterator[Need]:
    """Ask for the topic, and for the key that encrypts it (AWS page: Key management)."""
    topic = call.text("TopicArn")
    yield Need("sns:Publish", topic)
    known = sns_backends[call.account][call.region].topics.get(topic)
    key = known.kms_master_key_id if known else ""
    if key and not key.startswith("alias/"):
        arn = key if key.startswith("arn:") else call.arn(f"key/{key}", "kms")
        yield Need("kms:GenerateDataKey", arn)
        yield Need("kms:Decrypt", arn)


NEEDS: dict[str, Judge] = {"sns:Publish": _publish}
