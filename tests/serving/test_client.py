"""A client made by a public generator from the served document calls the API.

openapi-python-client reads the document as it is served, and writes a package that knows nothing
of this project; the calls below are that package's own functions.
"""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from collections.abc import Generator, Iterator
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.serving.conftest import ROW, RUN, Served

pytestmark = pytest.mark.xdist_group("serving")
PACKAGE = "generated_prediction_client"


class Signature(httpx.Auth):
    """Sign requests with botocore (Signature Version 4)."""

    requires_request_body = True

    def __init__(self, served: Served) -> None:
        credentials = Credentials(served.access_key, served.secret_key)
        self.signer = SigV4Auth(credentials, "execute-api", served.region)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        if "content-type" in request.headers:
            signed.headers["Content-Type"] = request.headers["content-type"]
        self.signer.add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request


@pytest.fixture(scope="module")
def package(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Generate the client from the served document, and import it."""
    folder = tmp_path_factory.mktemp("client")
    document = served.session().get(f"{served.url}/openapi.json")
    assert document.status_code == 200, document.text
    (folder / "openapi.json").write_text(document.text)
    (folder / "config.yaml").write_text(json.dumps({"package_name_override": PACKAGE}))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
            *("--path", folder / "openapi.json", "--config", folder / "config.yaml"),
            *("--output-path", folder / PACKAGE, "--fail-on-warning"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower(), done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield importlib.import_module(PACKAGE)
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def client(served: Served, package: Any) -> Any:
    return package.Client(
        base_url=served.url,
        raise_on_unexpected_status=True,
        timeout=httpx.Timeout(30),
        httpx_args={"auth": Signature(served)},
    )


def part(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


def test_it_predicts_and_explains(client: Any) -> None:
    """Rows go in and predictions come out as the package's own types."""
    models, predict = part("models"), part("api.default.predict")
    row = models.Row.from_dict(ROW)
    assert row.to_dict() == {**ROW, "last order": "2026-01-31T09:30:00+00:00"}
    request = models.PredictRequest(instances=[row], ids=["order-1"])
    answer = predict.sync(client=client, body=request, explain=models.PredictExplain.TRUE)
    assert isinstance(answer, models.Predictions)
    (prediction,) = answer.predictions
    assert (prediction.id, prediction.label) == ("order-1", models.PredictionLabel.YES)
    probabilities = prediction.probabilities.to_dict()
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert answer.model.run == RUN
    assert prediction.explanation.scale == "log-odds"
    contributions = prediction.explanation.outputs["yes"]
    total = contributions.base + sum(contributions.contributions.additional_properties.values())
    assert 1 / (1 + math.exp(-total)) == pytest.approx(probabilities["yes"], abs=1e-12)


def test_a_row_may_name_its_customer(client: Any) -> None:
    """As text or as a number, a member like any other, that changes no prediction."""
    models, predict = part("models"), part("api.default.predict")
    rows = [models.Row(age=30, colour="red", customer=name) for name in ("C-17", 17, None)]
    rows.append(models.Row(age=30, colour="red"))
    answer = predict.sync(client=client, body=models.PredictRequest(instances=rows))
    assert isinstance(answer, models.Predictions)
    assert len({p.probabilities.to_dict()["yes"] for p in answer.predictions}) == 1
    assert len(answer.predictions) == 4


def test_what_is_refused_is_a_problem(client: Any) -> None:
    """A row that breaks the contract is answered by a typed problem that names the column."""
    models, predict = part("models"), part("api.default.predict")
    row = models.Row(age=300, colour="blue")
    answer = predict.sync_detailed(client=client, body=models.PredictRequest(instances=[row]))
    assert answer.status_code == 422
    assert isinstance(answer.parsed, models.Problem)
    (error,) = answer.parsed.errors
    assert (error.row, error.column) == (0, "age")


def test_it_sends_labels_back(client: Any) -> None:
    models, feedback = part("models"), part("api.default.feedback")
    item = models.LabelsLabelsItem(id="order-1", value=models.LabelsLabelsItemValue.YES)
    accepted = feedback.sync(client=client, body=models.Labels(labels=[item]))
    assert accepted == models.Accepted(accepted=1)


def test_it_reads_the_model_and_its_health(client: Any) -> None:
    models = part("models")
    card = part("api.default.get_model").sync(client=client)
    assert isinstance(card, models.Model)
    assert card.model.run == RUN
    assert card.contract["target"] == "churned"
    health = part("api.default.get_health").sync(client=client)
    assert (health.status, health.model.run) == (models.HealthStatus.OK, RUN)
