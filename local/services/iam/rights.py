"""What calls to STS need (see `local.rights`)."""

from __future__ import annotations

from local.rights import Judge, on

NEEDS: dict[str, Judge] = {
    "sts:AssumeRole": on(lambda call: call.text("RoleArn")),
    # These need no permission.
    "sts:GetCallerIdentity": lambda call: [],
    "sts:GetSessionToken": lambda call: [],
}
