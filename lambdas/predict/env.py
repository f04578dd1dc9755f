"""The environment of the predict function."""

import os
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Environment(BaseModel):
    """Hold the function's settings, read once at init.

    ``MODEL_URI`` is the bundle's folder (``s3://bucket/models/run/output/model/``) or ``none``
    before the first model is live.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    deployment: str = Field(alias="DEPLOYMENT", min_length=1)
    model_uri: str = Field(alias="MODEL_URI", pattern=r"^(none|s3://[^/]+/.+)$")
    labels_uri: str = Field(alias="LABELS_URI", pattern=r"^s3://[^/]+/.+/$")
    max_rows: int = Field(alias="MAX_ROWS", ge=1)
    capture_sample_rate: float = Field(alias="CAPTURE_SAMPLE_RATE", ge=0.0, le=1.0)
    cors_origins: tuple[str, ...] = Field(alias="CORS_ORIGINS")
    engine: Literal["table", "onnx"] = Field(alias="ENGINE")

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Validate the process environment; raises pydantic's ``ValidationError``."""
        return cls.model_validate(dict(environ))
