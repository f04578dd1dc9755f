"""The environment of the canary function."""

import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field


class Environment(BaseModel):
    """Hold the function's settings; ``PREDICT_FUNCTION`` is the name of the predict function."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    deployment: str = Field(alias="DEPLOYMENT", min_length=1)
    predict_function: str = Field(alias="PREDICT_FUNCTION", min_length=1)

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Validate the process environment; raises pydantic's ``ValidationError``."""
        return cls.model_validate(dict(environ))
