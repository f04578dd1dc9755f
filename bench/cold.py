"""The predict function for a cold-start measurement: imports only what its first request needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.bundle import Bundle
from lambdas.predict.routes import Api
from lambdas.predict.service import Model

MAX_ROWS = 1_000


def open_predict(folder: str | Path, engine: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the predict handler as it is deployed, except that the bundle is read from disk."""

    def load() -> Model:
        open_engine = None
        if engine == "onnx":
            from lambdas.predict.onnx import open_onnx

            open_engine = open_onnx
        return Model(
            Bundle.from_folder(folder),
            run="bench",
            version="1",
            max_rows=MAX_ROWS,
            open_engine=open_engine,
        )

    # Log lines are built as for CloudWatch, then discarded.
    api = Api(
        deployment="bench",
        load=load,
        put_labels=lambda key, body: None,
        write=lambda line: None,
    )
    return lambda event: dict(api(event, None))
