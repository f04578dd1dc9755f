"""Stacks as they stand: their resources, events, plans and change sets."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


class StackError(Exception):
    """An API call that CloudFormation refuses (ValidationError unless `code` says otherwise)."""

    def __init__(self, message: str, code: str = "ValidationError") -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Resource:
    """One resource of a stack as it stands."""

    logical_id: str
    type: str
    properties: dict[str, Any]
    physical_id: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    status: str = "CREATE_IN_PROGRESS"
    reason: str = ""
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))
    deletion_policy: str = "Delete"
    replace_policy: str = "Delete"


@dataclass(frozen=True)
class Event:
    """One line of a stack's history."""

    stack_id: str
    stack_name: str
    logical_id: str
    physical_id: str
    type: str
    status: str
    reason: str
    time: datetime
    token: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True)
class Plan:
    """What a stack is asked to become."""

    body: str
    template: Mapping[str, Any]
    parameters: Mapping[str, str]
    tags: tuple[tuple[str, str], ...] = ()


@dataclass
class ChangeSet:
    """A change that was described and may be carried out."""

    id: str
    name: str
    stack: Stack
    plan: Plan
    kind: str
    description: str
    created: datetime
    changes: list[dict[str, Any]]
    status: str = "CREATE_COMPLETE"
    execution_status: str = "AVAILABLE"
    reason: str = ""


@dataclass
class Stack:
    """One stack: what it was last asked to be, what it is, and its history."""

    id: str
    name: str
    created: datetime
    status: str = "REVIEW_IN_PROGRESS"
    reason: str = ""
    plan: Plan | None = None
    values: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    change_sets: dict[str, ChangeSet] = field(default_factory=dict)
    role_arn: str = ""
    capabilities: tuple[str, ...] = ()
    notification_arns: tuple[str, ...] = ()
    protected: bool = False
    token: str = ""
    updated: datetime | None = None
    policy: str = ""

    @property
    def busy(self) -> bool:
        """Tell whether an operation is under way."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"
