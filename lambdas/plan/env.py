"""The environment of the plan function."""

import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, Json

from core.arrival import Arrival


class Data(BaseModel):
    """How the tables under `data/` arrive and are written; `id_column` is "" where there is none.

    Separator and encoding are "" where they are to be found out.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    arrival: Arrival
    id_column: str
    separator: str
    encoding: str
    columns: tuple[str, ...]


class Environment(BaseModel):
    """Hold the function's settings.

    The state machine's ARN is not among them (the machine refers to the function); it is derived
    from the execution's ARN in the event. ``DATA`` is JSON; see `Data`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    deployment: str = Field(alias="DEPLOYMENT", min_length=1)
    bucket: str = Field(alias="BUCKET", min_length=3)
    source_uri: str = Field(alias="SOURCE_URI", pattern=r"^s3://[^/]+/.+$")
    settings_digest: str = Field(alias="SETTINGS_DIGEST", min_length=1)
    serving_stack: str = Field(alias="SERVING_STACK", min_length=1)
    model_package_group: str = Field(alias="MODEL_PACKAGE_GROUP", min_length=1)
    commit: str = Field(alias="COMMIT")
    min_new_labels: int = Field(alias="MIN_NEW_LABELS", ge=0)
    cool_down_hours: float = Field(alias="COOL_DOWN_HOURS", ge=0.0)
    data: Json[Data] = Field(alias="DATA")

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Validate the process environment; raises pydantic's ``ValidationError``."""
        return cls.model_validate(dict(environ))
