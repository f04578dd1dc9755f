"""One stage on the local cloud that serves a small model, shared by the tests of its clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from requests import PreparedRequest, Session
from requests.auth import AuthBase

from core.bundle import ENTITY_KEY, GOLDEN
from core.contract import Column, Contract
from core.engine import load_engine
from infra.assets import Asset, Packager, Target
from local.cloud import Cloud
from tests.infra.synthesis import ROOT, TinyPackager, settings_of, synthesise
from tests.lambdas.bundles import files, term

RUN = "churn-local-20260101-000000-abc123"
RATE_LIMIT, BURST_LIMIT = 1000, 100
# One column of every type, with and without limits, unseen values and gaps.
CONTRACT = Contract(
    task="binary",
    target="churned",
    classes=("no", "yes"),
    positive="yes",
    columns=(
        Column("age", "integer", unit="years", min=0, max=120),
        Column("basket total", "number", missing=True),
        Column("colour", "category", categories=("red", "green")),
        Column("size", "category", categories=("s", "m", "l"), unseen="refuse", missing=True),
        Column("returning", "boolean", missing=True),
        Column("last order", "timestamp", missing=True),
        Column("note", "text", missing=True),
        Column("salary", "number", missing=True, sensitive=True),
    ),
    group_column="customer",
)
ROW = {"age": 30, "basket total": 12.5, "colour": "red", "last order": "2026-01-31T09:30:00Z"}


def model_files() -> dict[str, bytes]:
    """Return the bundle of a logistic regression over two of the columns."""
    features = [feature.name for feature in CONTRACT.features]
    model: dict[str, Any] = {
        "format": 1,
        "task": "binary",
        "family": "linear",
        "classes": ["no", "yes"],
        "positive": 1,
        "threshold": 0.5,
        "features": features,
        "columns": [feature.column for feature in CONTRACT.features],
        "baseline": [[0.0] * len(features)],
        "tables": {
            "link": "logistic",
            "base": [-1.0],
            "terms": [
                term(0, 0.02),
                term(features.index("colour"), None, {0.0: 0.5, 1.0: -0.5}),
                *(
                    term(place, 0.0)
                    for place in range(1, len(features))
                    if place != features.index("colour")
                ),
            ],
        },
    }
    engine = load_engine(json.dumps(model).encode())
    golden = {"rows": [ROW], "answers": [engine.score(CONTRACT.encode(ROW))], "tolerance": 1e-9}
    replaced = {GOLDEN.replace(".", "_"): json.dumps(golden).encode(), ENTITY_KEY: bytes(range(32))}
    return files(CONTRACT, model, **replaced)


class ServingPackager(TinyPackager):
    """Package the functions that a prediction passes for real, the others as a name."""

    def package_function(
        self, name: str, target: Target, requirements: str = "requirements.txt"
    ) -> Asset:
        if name in ("predict", "canary"):
            return Packager(ROOT, report=lambda line: None).package_function(
                name, target, requirements
            )
        return super().package_function(name, target, requirements)


class Signature(AuthBase):
    """Sign requests with botocore (Signature Version 4)."""

    def __init__(self, access_key: str, secret_key: str, region: str) -> None:
        self.credentials = Credentials(access_key, secret_key)
        self.region = region

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        body = request.body.encode() if isinstance(request.body, str) else request.body
        signed = AWSRequest(request.method, request.url, data=body)
        if "Content-Type" in request.headers:
            signed.headers["Content-Type"] = request.headers["Content-Type"]
        SigV4Auth(self.credentials, "execute-api", self.region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        return request


class Served:
    """A deployed API, and the operator's credentials to call it with."""

    def __init__(self, cloud: Cloud, api_id: str) -> None:
        self.cloud = cloud
        self.api_id = api_id
        url = cloud.api_url(api_id).rstrip("/")
        self.url = url
        environment = cloud.environment()
        self.access_key = environment["AWS_ACCESS_KEY_ID"]
        self.secret_key = environment["AWS_SECRET_ACCESS_KEY"]
        self.region = cloud.region

    def signature(self, secret_key: str | None = None) -> Signature:
        return Signature(self.access_key, secret_key or self.secret_key, self.region)

    def session(self) -> Session:
        """Return a session whose requests are signed."""
        session = Session()
        session.auth = self.signature()
        return session


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Deploy the training and the serving stack and put the model live, by its one parameter."""
    limits = {"rate_limit": RATE_LIMIT, "burst_limit": BURST_LIMIT, "max_rows": 20}
    settings = settings_of({"serving": {**limits, "traffic_shift": "all_at_once"}}, stage="local")
    assembly = tmp_path_factory.mktemp("assembly")
    synthesise(settings, outdir=assembly, packager=ServingPackager())
    stacks = (f"{settings.deployment}-training", f"{settings.deployment}-serving")
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        bucket = cloud.deploy(assembly, stacks)[stacks[0]]["BucketName"]
        prefix = f"models/{RUN}/output/model/"
        for name, content in model_files().items():
            cloud.client("s3").put_object(Bucket=bucket, Key=prefix + name, Body=content)
        pointer = {stacks[1]: {"ModelUri": f"s3://{bucket}/{prefix}"}}
        cloud.deploy(assembly, stacks, parameters=pointer)
        (api_id,) = cloud.apis
        yield Served(cloud, api_id)
