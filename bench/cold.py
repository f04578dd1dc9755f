"""What a fresh process imports to answer its first request, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.bundle import Bundle
from lambdas.predict.routes import Api
from lambdas.predict.service import Model

MAX_ROWS = 1_000


def open_predict(folder: str | Path, engine: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Give the predict function as deployed, but for the bundle, which is on disk."""

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

    # Lines are made as they are for CloudWatch, and then dropped.
    api = Api(
        deployment="bench",
        load=load,
        put_labels=lambda key, body: None,
        write=lambda line: None,
    )
    return lambda event: dict(api(event, None))
