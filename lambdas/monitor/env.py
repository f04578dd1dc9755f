"""The environment of the monitor."""

import json
import os
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator


class MonitorSettings(BaseModel):
    """The part of project.toml that the monitor follows."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schedule_minutes: float = Field(gt=0)
    false_alarms_per_year: float = Field(gt=0)
    min_window_rows: int = Field(ge=1)
    min_labels: int = Field(default=100, ge=1)
    max_quality_drop: float = Field(default=0.05, gt=0)
    min_new_labels: int = Field(default=100, ge=1)
    buffer_seconds: float = Field(default=60, ge=0)
    parallel_above_mb: float = Field(default=0, ge=0)


class Environment(BaseModel):
    """Hold the function's settings."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    deployment: str = Field(alias="DEPLOYMENT", min_length=1)
    stage: str = Field(alias="STAGE", min_length=1)
    bucket: str = Field(alias="BUCKET", min_length=3)
    settings: MonitorSettings = Field(alias="SETTINGS")
    topic_arn: str = Field(alias="TOPIC_ARN", pattern=r"^arn:")
    runbook_url: str = Field(alias="RUNBOOK_URL")

    @field_validator("settings", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Validate the process environment; raises pydantic's ``ValidationError``."""
        return cls.model_validate(dict(environ))
