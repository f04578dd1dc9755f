"""What calls to Lambda need (see `local.rights`)."""

from __future__ import annotations

from local.rights import Call, Judge, on


def _function(call: Call) -> str:
    arn = call.named("function", "FunctionName", ":")
    qualifier = call.text("Qualifier")
    return f"{arn}:{qualifier}" if qualifier else arn


NEEDS: dict[str, Judge] = {
    "lambda:DeleteFunction": on(_function),
    "lambda:GetAlias": on(_function),
    "lambda:GetFunction": on(_function),
    "lambda:Invoke": on(_function, "lambda:InvokeFunction"),
    "lambda:ListVersionsByFunction": on(_function),
}
