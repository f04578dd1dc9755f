"""The environment of the register function."""

import os
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Json


class Gates(BaseModel):
    """Hold the bounds that the holdout's metrics must meet, by metric name, and accepted doubts."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    minimum: dict[str, float] = {}
    maximum: dict[str, float] = {}
    accepted: tuple[str, ...] = ()


class Environment(BaseModel):
    """Hold the function's settings.

    ``GATES`` is the settings' section of that name as JSON:
    ``{"minimum": {"roc_auc": 0.95}, "maximum": {}, "accepted": ["alone:balance"]}``. ``STAGE`` is
    for the commands that a notice names.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    deployment: str = Field(alias="DEPLOYMENT", min_length=1)
    stage: str = Field(alias="STAGE", min_length=1)
    bucket: str = Field(alias="BUCKET", min_length=3)
    model_package_group: str = Field(alias="MODEL_PACKAGE_GROUP", min_length=1)
    inference_image: str = Field(alias="INFERENCE_IMAGE", min_length=1)
    gates: Json[Gates] = Field(alias="GATES")
    approval: Literal["automatic", "manual"] = Field(alias="APPROVAL")

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Validate the process environment; raises pydantic's ``ValidationError``."""
        return cls.model_validate(dict(environ))
