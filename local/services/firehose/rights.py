"""What calls to Firehose need (see `local.rights`)."""

from __future__ import annotations

from local.rights import Call, Judge, on


def _stream(call: Call) -> str:
    return call.named("deliverystream", "DeliveryStreamName")


NEEDS: dict[str, Judge] = {
    "firehose:PutRecord": on(_stream),
    "firehose:PutRecordBatch": on(_stream),
}
