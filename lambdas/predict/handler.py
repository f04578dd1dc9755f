"""The predict function: the REST API's only backend.

Everything slow happens when this module is imported: Lambda then gives a full CPU, and a snapshot
or a provisioned copy has it done.
"""

import os
import sys
from collections.abc import Mapping

from core.bundle import Bundle
from lambdas.predict.env import Environment
from lambdas.predict.ports import S3
from lambdas.predict.routes import Api
from lambdas.predict.service import Model

NO_MODEL = "none"


def make_api(environ: Mapping[str, str]) -> Api:
    """Put the API together as an environment describes it."""
    environment = Environment.read(environ)
    s3 = S3(environ)

    def load() -> Model | None:
        if environment.model_uri == NO_MODEL:
            return None
        folder = environment.model_uri.rstrip("/")
        open_engine = None
        if environment.engine == "onnx":
            from lambdas.predict.onnx import open_onnx

            open_engine = open_onnx
        return Model(
            Bundle(lambda name: s3.get(f"{folder}/{name}")),
            run=run_of(folder),
            version=environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            max_rows=environment.max_rows,
            auth=environment.auth,
            public_docs=environment.public_docs,
            open_engine=open_engine,
        )

    def write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    return Api(
        deployment=environment.deployment,
        load=load,
        put_labels=lambda key, body: s3.put(environment.labels_uri + key, body),
        write=write,
        sample_rate=environment.capture_sample_rate,
        cors_origins=environment.cors_origins,
    )


def run_of(folder: str) -> str:
    """Return the run in ``s3://bucket/models/run/output/model``, or the folder's own name."""
    parts = folder.removeprefix("s3://").split("/")
    if "models" in parts[1:-1]:
        return parts[parts.index("models", 1) + 1]
    return parts[-1]


handler = make_api(os.environ)
