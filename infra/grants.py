"""Grants, each with the reason for any wildcard in it, as cdk-nag wants it acknowledged."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations, aws_iam
from constructs import Construct, IConstruct

from infra.deployment import StageConstruct

# Reasons that many grants share.
BY_PREFIX = "Objects below one prefix of one bucket; their names are runs, hours and ids."
ONE_STACK = "One stack by its name; the rest of its ARN is an id that CloudFormation chooses."


def allow(
    role: aws_iam.Role,
    *actions: str,
    on: Sequence[str],
    when: Mapping[str, Any] | None = None,
    because: str = "",
) -> None:
    """Let a role do these actions on these resources; a wildcard among them needs its reason."""
    role.add_to_policy(
        aws_iam.PolicyStatement(actions=list(actions), resources=list(on), conditions=when)
    )
    if because:
        acknowledge_wildcards(role, on=on, because=because)


def service_role(
    scope: StageConstruct, construct_id: str, *, service: str, says: str
) -> aws_iam.Role:
    """Make a role for an AWS service, which may do nothing yet."""
    return aws_iam.Role(
        scope,
        construct_id,
        assumed_by=aws_iam.ServicePrincipal(service),
        description=f"{scope.deployment.name}: {says}",
    )


def stack_arn(scope: Construct, name: str) -> str:
    """Give the ARN of a stack of this account by its name, whatever its id."""
    return Stack.of(scope).format_arn(
        service="cloudformation", resource="stack", resource_name=f"{name}/*"
    )


def acknowledge_wildcards(scope: IConstruct, *, on: Sequence[str], because: str) -> None:
    """Acknowledge the wildcards of these resources in the policies below a construct."""
    rendered = [_render(Stack.of(scope).resolve(resource)) for resource in on]
    findings = [f"AwsSolutions-IAM5[Resource::{text}]" for text in rendered if "*" in text]
    acknowledge(scope, *findings, because=because)


def acknowledge(scope: IConstruct, *findings: str, because: str) -> None:
    """Tell cdk-nag why these findings, on this construct and below, are as they should be."""
    Validations.of(scope).acknowledge(
        *(Acknowledgment(id=finding, reason=because) for finding in findings)
    )


def _render(value: Any) -> str:
    """Write a resolved value as cdk-nag writes it in the id of a finding."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Ref":
        return f"<{argument}>"
    if function == "Fn::GetAtt":
        return f"<{'.'.join(argument)}>"
    if function == "Fn::ImportValue":
        return str(argument)
    if function == "Fn::Join":
        return str(argument[0]).join(_render(part) for part in argument[1])
    raise TypeError(f"a resource of a grant uses {function}, which has no rendering here")
