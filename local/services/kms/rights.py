"""What calls to KMS need (see `local.rights`)."""

from __future__ import annotations

from local.rights import Call, Judge, on


def _key(call: Call) -> str:
    return call.named("key", "KeyId")


NEEDS: dict[str, Judge] = {"kms:Decrypt": on(_key), "kms:GenerateDataKey": on(_key)}
