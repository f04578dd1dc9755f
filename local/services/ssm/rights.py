"""What calls to Systems Manager need (see `local.rights`)."""

from __future__ import annotations

from local.rights import Judge, on

NEEDS: dict[str, Judge] = {
    "ssm:GetParameter": on(lambda call: call.arn(f"parameter/{call.text('Name').lstrip('/')}")),
}
