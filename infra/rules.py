"""Rules of EventBridge: what starts something by itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import aws_events

from infra.deployment import StageConstruct


def on_event(
    scope: StageConstruct,
    construct_id: str,
    *,
    says: str,
    source: str,
    kind: str,
    target: aws_events.IRuleTarget,
    detail: Mapping[str, Any],
    resources: Sequence[str] | None = None,
) -> None:
    """Hand events of one kind (their detail-type) to a target; a pattern narrows them down."""
    aws_events.Rule(
        scope,
        construct_id,
        description=f"{scope.deployment.name}: {says}",
        event_pattern=aws_events.EventPattern(
            source=[source],
            detail_type=[kind],
            detail=detail,
            resources=None if resources is None else list(resources),
        ),
        targets=[target],
    )


def on_schedule(
    scope: StageConstruct,
    construct_id: str,
    *,
    says: str,
    schedule: aws_events.Schedule,
    target: aws_events.IRuleTarget,
) -> None:
    """Start a target on a schedule."""
    aws_events.Rule(
        scope,
        construct_id,
        description=f"{scope.deployment.name}: {says}",
        schedule=schedule,
        targets=[target],
    )
