"""The environment of the promote function."""

import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field


class Environment(BaseModel):
    """Hold the function's settings."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    deployment: str = Field(alias="DEPLOYMENT", min_length=1)
    serving_stack: str = Field(alias="SERVING_STACK", min_length=1)
    model_package_group: str = Field(alias="MODEL_PACKAGE_GROUP", min_length=1)
    predict_function: str = Field(alias="PREDICT_FUNCTION", min_length=1)
    keep_versions: int = Field(alias="KEEP_VERSIONS", ge=0)

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Validate the process environment; raises pydantic's ``ValidationError``."""
        return cls.model_validate(dict(environ))
