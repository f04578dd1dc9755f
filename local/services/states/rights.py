"""What calls to Step Functions need (see `local.rights`)."""

from __future__ import annotations

from local.rights import Judge, on

NEEDS: dict[str, Judge] = {
    "states:DescribeExecution": on(lambda call: call.text("executionArn")),
    "states:ListExecutions": on(lambda call: call.text("stateMachineArn")),
    "states:StartExecution": on(lambda call: call.text("stateMachineArn")),
}
