"""The environment of the predict function.

Plain Python, unlike its neighbours': importing pydantic would double this function's cold start.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, cast

from core.errors import SettingsError

Engine = Literal["table", "onnx"]
Auth = Literal["iam", "api_key", "open"]

_MODEL_URI = re.compile(r"none|s3://[^/]+/.+")
_LABELS_URI = re.compile(r"s3://[^/]+/(.+/)?")


@dataclass(frozen=True)
class Environment:
    """Hold the function's settings, read once at init.

    ``MODEL_URI`` is the bundle's folder (``s3://bucket/models/run/output/model/``) or ``none``
    before the first model is live. ``AUTH`` and ``PUBLIC_DOCS`` are what the API's own document
    says of it; API Gateway enforces them.
    """

    deployment: str
    model_uri: str
    labels_uri: str
    max_rows: int
    capture_sample_rate: float
    cors_origins: tuple[str, ...]
    engine: Engine
    auth: Auth
    public_docs: bool

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read and check the process environment; raises ``SettingsError`` naming the variable."""
        origins = _get(environ, "CORS_ORIGINS").split(",")
        return cls(
            deployment=_match(environ, "DEPLOYMENT", re.compile(r".+")),
            model_uri=_match(environ, "MODEL_URI", _MODEL_URI),
            labels_uri=_match(environ, "LABELS_URI", _LABELS_URI),
            max_rows=int(_number(environ, "MAX_ROWS", 1, 1_000_000)),
            capture_sample_rate=_number(environ, "CAPTURE_SAMPLE_RATE", 0, 1),
            cors_origins=tuple(origin.strip() for origin in origins if origin.strip()),
            engine=cast("Engine", _one_of(environ, "ENGINE", ("table", "onnx"))),
            auth=cast("Auth", _one_of(environ, "AUTH", ("iam", "api_key", "open"), "iam")),
            public_docs=_one_of(environ, "PUBLIC_DOCS", ("true", "false"), "false") == "true",
        )


def _get(environ: Mapping[str, str], name: str, default: str | None = None) -> str:
    value = environ.get(name, default)
    if value is None:
        raise SettingsError(f"the environment variable {name} is not set")
    return value


def _match(environ: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = _get(environ, name)
    if not pattern.fullmatch(value):
        raise SettingsError(f"{name} is {value!r}: it must match {pattern.pattern}")
    return value


def _number(environ: Mapping[str, str], name: str, low: float, high: float) -> float:
    value = _get(environ, name)
    try:
        number = float(value)
    except ValueError as error:
        raise SettingsError(f"{name} is {value!r}: it must be a number") from error
    if not low <= number <= high:
        raise SettingsError(f"{name} is {value!r}: it must be from {low:g} to {high:g}")
    return number


def _one_of(
    environ: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str | None = None
) -> str:
    value = _get(environ, name, default)
    if value not in allowed:
        raise SettingsError(f"{name} is {value!r}: it must be one of {', '.join(allowed)}")
    return value
