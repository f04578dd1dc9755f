"""The REST API of the predict function, event in, response out."""

import base64
import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contract import Column, Contract
from core.contract.rows import RowAdapter
from core.errors import BundleError, StorageError
from lambdas.predict.routes import MAX_BODY_BYTES, Api
from lambdas.predict.service import MAX_EXPLAINED_ROWS, Model, example_row
from tests.lambdas.bundles import CONTRACT_OF_SHOP, ROW, RUN, bundle, model_document

EVENT = json.loads((Path(__file__).parent / "events" / "predict.json").read_text())
REQUEST_ID = EVENT["requestContext"]["requestId"]
TIME_MS = EVENT["requestContext"]["requestTimeEpoch"]
MARGIN = -1.0 + 0.02 * 30 + 0.1 * 12.5 + 0.5 + 0.2
PROBABILITY = 1.0 / (1.0 + math.exp(-MARGIN))


class Service:
    """An Api over a bundle in memory, with everything that it wrote."""

    def __init__(self, max_rows: int = 200, **options: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        self.labels: dict[str, bytes] = {}
        self.raw: list[str] = []
        defaults: dict[str, Any] = {
            "deployment": "shop-dev",
            "load": lambda: Model(bundle(), run=RUN, version="7", max_rows=max_rows),
            "put_labels": self.labels.__setitem__,
            "write": self._write,
        }
        self.api = Api(**{**defaults, **options})

    def _write(self, line: str) -> None:
        assert line.endswith("\n")
        assert line.count("\n") == 1
        self.raw.append(line)
        self.lines.append(json.loads(line))

    def call(self, method: str = "POST", path: str = "/predict", **changes: Any) -> dict[str, Any]:
        event = copy.deepcopy(EVENT)
        event.update({"httpMethod": method, "path": path, "resource": path})
        event["requestContext"].update(changes.pop("context", {}))
        event.update(changes)
        response = self.api(event, None)
        assert isinstance(response["body"], str)
        json.dumps(response)
        return response

    def predict(self, *rows: Any, **changes: Any) -> tuple[int, dict[str, Any]]:
        extra = changes.pop("extra", {})
        response = self.call(body=json.dumps({"instances": list(rows), **extra}), **changes)
        return response["statusCode"], json.loads(response["body"])

    @property
    def captures(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "capture" in line]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "_aws" in line]


@pytest.fixture
def service() -> Service:
    return Service()


def test_predict_answers_label_probabilities_and_model(service: Service) -> None:
    """A prediction names its id, label, probability of each class, and the model that made it."""
    status, body = service.predict(ROW)
    assert status == 200
    assert body["model"] == {"version": "7", "run": RUN}
    (prediction,) = body["predictions"]
    assert prediction["id"] == f"{REQUEST_ID}:0"
    assert prediction["label"] == "yes"
    assert prediction["probabilities"] == pytest.approx(
        {"no": 1 - PROBABILITY, "yes": PROBABILITY}, abs=1e-15
    )


def test_predict_writes_one_metric_line_and_one_capture_line(service: Service) -> None:
    """Each request leaves its count in EMF and its rows for the monitor, timed by the event."""
    service.predict({**ROW, "salary": 5000.5}, ROW)
    (metric,) = service.metrics
    assert metric["_aws"]["Timestamp"] == TIME_MS
    directive, scored = metric["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == scored["Namespace"] == "Driftless"
    assert directive["Dimensions"] == [["Deployment"]]
    assert {m["Name"] for m in directive["Metrics"]} == {"Predictions", "RowsRefused"}
    assert (metric["Deployment"], metric["Predictions"], metric["RowsRefused"]) == (
        "shop-dev", 2, 0,
    )  # fmt: skip
    assert scored["Dimensions"] == [["Deployment"], ["Deployment", "Version"]]
    (record,) = service.captures
    mean = sum(outputs[0] for _, _, outputs in record["rows"]) / 2
    assert [metric[m["Name"]] for m in scored["Metrics"]] == [1, mean, mean * mean]
    assert record["capture"] == 1
    assert record["time"] == TIME_MS
    assert record["request"] == REQUEST_ID
    assert (record["run"], record["version"], record["weight"]) == (RUN, "7", 1.0)
    (_, first, outputs), (identifier, second, _) = record["rows"]
    assert identifier == f"{REQUEST_ID}:1"
    assert outputs == pytest.approx([1 - outputs[1], outputs[1]])
    assert second == {"age": 30, "basket total": 12.5, "colour": "red", "size": "m"}
    assert "salary" not in first, "a sensitive column must not leave the function"
    assert "5000.5" not in "".join(service.raw)


def test_client_ids_name_the_predictions(service: Service) -> None:
    """Ids of the caller's come back, and mark the captured rows."""
    _, body = service.predict(ROW, ROW, extra={"ids": ["order-1", "order-2"]})
    assert [p["id"] for p in body["predictions"]] == ["order-1", "order-2"]
    assert [row[0] for row in service.captures[0]["rows"]] == ["order-1", "order-2"]


def test_duplicate_ids_are_refused(service: Service) -> None:
    """One id cannot mark two rows of a request."""
    status, body = service.predict(ROW, ROW, extra={"ids": ["a", "a"]})
    assert status == 422
    assert body["errors"][0]["code"] == "duplicate_id"
    assert body["errors"][0]["row"] == 1


def test_all_problems_of_all_rows_are_named_at_once(service: Service) -> None:
    """One bad row refuses the request and changes no other row's answer."""
    bad = {"age": "old", "colour": "red", "size": "xl", "colour ": "x"}
    status, body = service.predict(ROW, bad, {"age": 200, "basket total": 1})
    assert status == 422
    found = {(e.get("row"), e.get("column"), e["code"]) for e in body["errors"]}
    assert found == {
        (1, "age", "wrong_type"),
        (1, "size", "unseen_category"),
        (1, "colour ", "unknown_column"),
        (2, "age", "too_large"),
        (2, "colour", "missing"),
    }
    assert service.captures == []
    assert service.metrics[0]["RowsRefused"] == 2
    assert service.metrics[0]["Predictions"] == 0


def test_problem_documents_are_rfc_9457(service: Service) -> None:
    """Errors are problem documents that name the request."""
    response = service.call(body=json.dumps({"instances": [{}]}))
    assert response["headers"]["Content-Type"] == "application/problem+json"
    body = json.loads(response["body"])
    assert body["status"] == response["statusCode"] == 422
    assert body["type"] == "urn:driftless:problem:invalid-rows"
    assert body["instance"].endswith(REQUEST_ID)
    assert body["title"]


@pytest.mark.parametrize("value", ["secret words", [1, 2], 1e400, True, "NaN"])
def test_sensitive_values_are_never_echoed(service: Service, value: Any) -> None:
    """A refused value of a sensitive column appears neither in the answer nor in the log."""
    text = json.dumps({"instances": [{**ROW, "salary": "X"}]}).replace('"X"', json.dumps(value))
    response = service.call(body=text)
    assert response["statusCode"] in (400, 422)
    for output in (response["body"], "".join(service.raw)):
        assert "secret" not in output


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, None),
        ("{", 400, "invalid_json"),
        ('{"instances": [{"age": NaN}]}', 422, None),
        ('{"instances": [{"age": 30, "basket total": Infinity, "colour": "red"}]}', 422, None),
        ('{"instances": [{"age": 30, "basket total": 1e999, "colour": "red"}]}', 422, None),
        ("[]", 422, "wrong_type"),
        ("null", 422, "wrong_type"),
        ('"text"', 422, "wrong_type"),
        ("{}", 422, "missing"),
        ('{"instances": []}', 422, "no_rows"),
        ('{"instances": {}}', 422, "wrong_type"),
        ('{"instances": [1]}', 422, "not_an_object"),
        ('{"instances": [null]}', 422, "not_an_object"),
        ('{"rows": []}', 422, None),
        ('{"instances": ' + "[" * 100_000 + "]" * 100_000 + "}", 400, "invalid_json"),
        ('{"instances": [{"age": ' + "1" * 5000 + "}]}", 400, "invalid_json"),
        ('{"instances": [{"age": 30, "colour": "\\ud800"}]}', 400, "invalid_json"),
        ("\ufeff{}", 400, "invalid_json"),
        ('{"instances": [{"age": ' + "1" * 400 + "}]}", 422, "not_finite"),
        ('{"instances": [{"age": 1e400}]}', 422, "not_finite"),
        ('{"instances": [{"basket total": NaN}]}', 422, "not_finite"),
        ('{"instances": [{"basket total": -Infinity}]}', 422, "not_finite"),
        ('{"instances": [{"basket total": nan}]}', 400, "invalid_json"),
        ('{"instances": [{"basket total": "NaN"}]}', 422, "wrong_type"),
        ('{"instances": [{"basket total": "\u0661"}]}', 422, "wrong_type"),
        ('{"instances": [{"basket total": 1.}]}', 400, "invalid_json"),
        ('{"instances": [{"basket total": 01}]}', 400, "invalid_json"),
        ('{"instances": [{"basket total": true}]}', 422, "wrong_type"),
        ('{"instances": [{"age\\u0000": 1}]}', 422, "unknown_column"),
        ('{"instances": [{"__proto__": 1}]}', 422, "unknown_column"),
        ('{"instances": [{"age": ' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "}]}", 400, None),
        ('{"instances": []} {}', 400, "invalid_json"),
        ('{"instances": []}\x00', 400, "invalid_json"),
        ('/* */ {"instances": []}', 400, "invalid_json"),
        ("  ", 400, "invalid_json"),
        ('{"instances": [{}], "explain": true}', 422, "unknown_member"),
        ('{"instances": [{}], "ids": null}', 422, "wrong_type"),
        ('{"instances": [{}], "ids": ["' + "x" * 129 + '"]}', 422, "wrong_type"),
        ('{"instances": [{}], "ids": ["a\\n"]}', 422, "wrong_type"),
        ('{"instances": [{"colour": "\ud800"}]}', 400, None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_malformed_bodies_have_their_defined_answer(
    service: Service, body: str, status: int, code: str | None
) -> None:
    """What is not JSON is 400, what the contract refuses is 422; nothing is a 500."""
    response = service.call(body=body)
    assert response["statusCode"] == status, response["body"]
    document = json.loads(response["body"])
    if code is not None:
        assert code in {error["code"] for error in document["errors"]}


def test_broken_utf8_is_a_400(service: Service) -> None:
    """A body that is no UTF-8 reaches the function in base64 and is refused."""
    raw = base64.b64encode(b'{"instances": [{"colour": "\xff\xfe"}]}').decode()
    response = service.call(body=raw, isBase64Encoded=True)
    assert response["statusCode"] == 400
    assert service.call(body="%%%", isBase64Encoded=True)["statusCode"] == 400


def test_base64_bodies_are_read(service: Service) -> None:
    """API Gateway hands binary media types over in base64."""
    raw = base64.b64encode(EVENT["body"].encode()).decode()
    assert service.call(body=raw, isBase64Encoded=True)["statusCode"] == 200


def test_too_many_rows_are_refused() -> None:
    """A request may hold max_rows rows."""
    service = Service(max_rows=3)
    assert service.predict(*[ROW] * 3)[0] == 200
    status, body = service.predict(*[ROW] * 4)
    assert status == 422
    assert body["errors"][0]["code"] == "too_many_rows"


def test_too_large_a_body_is_a_413(service: Service) -> None:
    """The limit is stated in the answer."""
    response = service.call(body=" " * (MAX_BODY_BYTES + 1))
    assert response["statusCode"] == 413
    assert f"{MAX_BODY_BYTES:,}" in response["body"]


def test_too_large_an_answer_is_a_413() -> None:
    """What would not fit into Lambda's response is said, not cut."""
    service = Service(max_rows=100_000)
    body = '{"instances":[' + ",".join(['{"age":1,"colour":"red"}'] * 60_000) + "]}"
    response = service.call(body=body)
    assert response["statusCode"] == 413
    assert "fewer rows" in response["body"]
    assert service.captures == []


def test_a_huge_list_of_problems_is_cut_and_says_so() -> None:
    """A problem document fits into Lambda's response."""
    service = Service(max_rows=100_000)
    response = service.call(body='{"instances":[' + ",".join(["{}"] * 60_000) + "]}")
    assert response["statusCode"] == 422
    assert len(response["body"]) < MAX_BODY_BYTES
    assert json.loads(response["body"])["errors_omitted"] > 0


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ('Application/JSON; Charset="UTF-8"', 200),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 200),
    ],
)
def test_only_json_in_utf8_is_taken(service: Service, kind: str, status: int) -> None:
    """Another media type or character set is a 415; none at all is taken for JSON."""
    assert service.call(headers={"content-type": kind})["statusCode"] == status


def test_compressed_bodies_are_a_415(service: Service) -> None:
    """A Content-Encoding is refused by name."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert service.call(headers=headers)["statusCode"] == 415


def test_unseen_categories_are_accepted_and_flagged(service: Service) -> None:
    """A category that the model never saw is answered, and said to be unseen."""
    _, body = service.predict({**ROW, "colour": "mauve"}, ROW)
    assert body["predictions"][0]["unseen"] == ["colour"]
    assert "unseen" not in body["predictions"][1]


def test_explanations_add_up_to_the_score(service: Service) -> None:
    """Base and contributions of the caller's columns sum to the margin."""
    status, body = service.predict(ROW, queryStringParameters={"explain": "true"})
    assert status == 200
    explanation = body["predictions"][0]["explanation"]
    assert explanation["scale"] == "log-odds"
    (attribution,) = explanation["outputs"].values()
    assert set(attribution["contributions"]) == set(CONTRACT_OF_SHOP.column_names)
    total = attribution["base"] + sum(attribution["contributions"].values())
    assert total == pytest.approx(MARGIN, abs=1e-12)


def test_explain_is_true_or_false(service: Service) -> None:
    """Another value of the parameter is refused, false is no explanation."""
    for value in ("1", "", "TRUE", None):
        response = service.call(queryStringParameters={"explain": value})
        assert response["statusCode"] == 400, value
    _, body = service.predict(ROW, queryStringParameters={"explain": "false"})
    assert "explanation" not in body["predictions"][0]


def test_explain_given_twice_is_refused_unless_alike(service: Service) -> None:
    """API Gateway hands on the last of repeated parameters; what was meant is not ours to guess."""
    for values, status in ((["true", "false"], 400), (["false", "true"], 400), (["true"] * 2, 200)):
        got, body = service.predict(
            ROW,
            queryStringParameters={"explain": values[-1]},
            multiValueQueryStringParameters={"explain": values},
        )
        assert got == status
        assert "explanation" in str(body.get("predictions")) or status == 400


def test_the_last_of_repeated_names_counts(service: Service) -> None:
    """As with any JSON parser; what is captured is what was scored."""
    twice = json.dumps(ROW).replace('"age": 30', '"age": 99, "age": 30')
    response = service.call(body=f'{{"instances": [{twice}]}}')
    assert json.loads(response["body"])["predictions"] == service.predict(ROW)[1]["predictions"]
    assert service.captures[0]["rows"] == service.captures[1]["rows"]


def test_a_body_is_measured_in_bytes(service: Service) -> None:
    """A character may be four of them."""
    body = '{"instances": [{"colour": "' + "\U0001f600" * (MAX_BODY_BYTES // 4) + '"}]}'
    assert len(body) < MAX_BODY_BYTES < len(body.encode())
    assert service.call(body=body)["statusCode"] == 413


def test_zero_and_minus_zero_are_one_number(service: Service) -> None:
    _, plus = service.predict({**ROW, "basket total": 0.0})
    _, minus = service.predict({**ROW, "basket total": -0.0})
    assert plus == minus


def test_explanations_have_their_own_limit(service: Service) -> None:
    """More rows than can be explained in time are refused."""
    rows = [ROW] * (MAX_EXPLAINED_ROWS + 1)
    status, body = service.predict(*rows, queryStringParameters={"explain": "true"})
    assert status == 422
    assert str(MAX_EXPLAINED_ROWS) in body["errors"][0]["message"]


def test_a_model_without_baseline_says_that_it_cannot_explain() -> None:
    """Explaining needs a baseline; without one the request is refused with the reason."""
    model = {**model_document(), "baseline": []}
    service = Service(load=lambda: Model(bundle(model=model), run=RUN, version="1", max_rows=5))
    status, body = service.predict(ROW, queryStringParameters={"explain": "true"})
    assert status == 422
    assert body["errors"][0]["code"] == "cannot_explain"


def test_before_the_first_model_predict_is_a_503_and_health_answers() -> None:
    """MODEL_URI none: a clear problem document with Retry-After; the service itself is well."""
    service = Service(load=lambda: None)
    response = service.call()
    assert response["statusCode"] == 503
    assert int(response["headers"]["Retry-After"]) > 0
    assert "no model is live yet" in json.loads(response["body"])["detail"]
    health = service.call("GET", "/health")
    assert health["statusCode"] == 200
    assert json.loads(health["body"])["status"] == "no_model"
    for path in ("/model", "/openapi.json"):
        assert service.call("GET", path)["statusCode"] == 503
    assert service.call("GET", "/docs")["statusCode"] == 200


def test_a_model_that_cannot_be_loaded_is_tried_again() -> None:
    """A failed load at init is a 503 that does not tell why, and heals by itself."""
    attempts: list[int] = []

    def load() -> Model:
        attempts.append(1)
        if len(attempts) < 3:
            raise BundleError("model.json was altered")
        return Model(bundle(), run=RUN, version="7", max_rows=10)

    service = Service(load=load)
    response = service.call()
    assert response["statusCode"] == 503
    assert "altered" not in response["body"]
    assert any("altered" in line.get("error", "") for line in service.lines)
    assert service.predict(ROW)[0] == 200
    assert len(attempts) == 3


def test_health_is_503_while_the_model_cannot_be_loaded() -> None:
    """A model that should be there and is not is no good health."""

    def load() -> Model:
        raise BundleError("gone")

    assert Service(load=load).call("GET", "/health")["statusCode"] == 503


def test_feedback_keeps_labels_and_accepts() -> None:
    """Labels become one JSON lines object under the request's day; a repeat overwrites it."""
    service = Service()
    body = json.dumps({"labels": [{"id": "a", "value": "yes"}, {"id": "b", "value": "no"}]})
    for _ in range(2):
        response = service.call(path="/feedback", body=body)
        assert response["statusCode"] == 202
        assert json.loads(response["body"]) == {"accepted": 2}
    ((key, content),) = service.labels.items()
    assert key.startswith("2026/11/21/")
    assert key.endswith(".jsonl")
    assert [json.loads(line) for line in content.splitlines()] == [
        {"id": "a", "value": "yes", "time": TIME_MS},
        {"id": "b", "value": "no", "time": TIME_MS},
    ]


def test_feedback_refuses_what_is_no_label(service: Service) -> None:
    """A label that the model does not know is named and nothing is kept."""
    body = json.dumps({"labels": [{"id": "a", "value": "yes"}, {"id": "b", "value": "maybe"}]})
    response = service.call(path="/feedback", body=body)
    assert response["statusCode"] == 422
    assert json.loads(response["body"])["errors"][0]["row"] == 1
    assert service.labels == {}


def test_feedback_that_contradicts_itself_is_a_409(service: Service) -> None:
    """Which of two labels of one prediction is right cannot be told; the same one twice is."""
    labels = [{"id": "a", "value": "yes"}, {"id": "b", "value": "no"}, {"id": "a", "value": "no"}]
    response = service.call(path="/feedback", body=json.dumps({"labels": labels}))
    assert response["statusCode"] == 409
    (error,) = json.loads(response["body"])["errors"]
    assert (error["row"], error["column"], error["code"]) == (2, "id", "duplicate_id")
    assert service.labels == {}
    again = service.call(path="/feedback", body=json.dumps({"labels": [labels[0]] * 2}))
    assert again["statusCode"] == 202


def test_feedback_that_cannot_be_kept_is_a_503() -> None:
    """A caller is told to send the labels again."""

    def put(key: str, body: bytes) -> None:
        raise StorageError("S3 answered 503 SlowDown")

    service = Service(put_labels=put)
    body = json.dumps({"labels": [{"id": "a", "value": "yes"}]})
    response = service.call(path="/feedback", body=body)
    assert response["statusCode"] == 503
    assert "Retry-After" in response["headers"]


def test_model_is_its_card(service: Service) -> None:
    """GET /model gives contract, metrics and lineage."""
    body = json.loads(service.call("GET", "/model")["body"])
    assert body["model"] == {"version": "7", "run": RUN}
    assert body["contract"]["target"] == "bought"
    assert body["metrics"]["roc_auc"]["value"] == 0.91
    assert body["lineage"]["commit"] == "c0ffee"


def test_the_card_keeps_to_itself_what_the_run_thought_of_its_data() -> None:
    """Doubts, and the rows of each file, are for those who operate the model."""
    named = {"key": "data/a.csv", "sha256": "a" * 64, "bytes": 9, "version_id": "v", "etag": "e"}
    more = {"rows": 1500, "used": 20, "left_out": {"marked as deleted": 1480}, "modified": "2026"}
    lineage = json.dumps({"run": RUN, "inputs": [named | more]}).encode()
    found = bundle().evaluation()
    found |= {"doubts": [{"name": "alone:a", "sentence": "tells", "accepted": False}]}
    doubted = bundle(lineage_json=lineage, evaluation_json=json.dumps(found).encode())
    service = Service(load=lambda: Model(doubted, run=RUN, version="7", max_rows=200))
    body = service.call("GET", "/model")["body"]
    assert json.loads(body)["lineage"] == {"run": RUN, "inputs": [named]}
    assert set(json.loads(body)) == {"model", "contract", "metrics", "lineage"}
    assert "alone:a" not in body


def test_openapi_document_is_of_this_contract(service: Service) -> None:
    """The document has the contract's columns, a made-up example and the stage's server."""
    document = json.loads(service.call("GET", "/openapi.json")["body"])
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "/live"}]
    row = document["components"]["schemas"]["Row"]
    assert set(row["properties"]) == set(CONTRACT_OF_SHOP.column_names)
    assert service.predict(row["examples"][0])[0] == 200


def test_docs_page_needs_no_other_host(service: Service) -> None:
    """Nothing on the page is loaded from elsewhere, and its policy forbids it."""
    response = service.call("GET", "/docs")
    assert response["headers"]["Content-Type"].startswith("text/html")
    policy = response["headers"]["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "http://" not in response["body"]
    assert "https://" not in response["body"]


def test_unknown_paths_and_methods(service: Service) -> None:
    """404 names the paths, 405 the methods."""
    assert service.call("GET", "/nothing")["statusCode"] == 404
    response = service.call("GET", "/predict")
    assert response["statusCode"] == 405
    assert response["headers"]["Allow"] == "POST, OPTIONS"


def test_proxy_resources_route_by_path(service: Service) -> None:
    """An API with one {proxy+} resource works too."""
    assert service.call(resource="/{proxy+}", path="/predict/")["statusCode"] == 200


def test_cors_answers_the_allowed_origins_only() -> None:
    """Pages of listed origins may read the answers, others may not."""
    service = Service(cors_origins=("https://app.example.com",))
    headers = {"Content-Type": "application/json", "origin": "https://app.example.com"}
    allowed = service.call(headers=headers)["headers"]
    assert allowed["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert allowed["Vary"] == "Origin"
    headers["origin"] = "https://evil.example.com"
    assert "Access-Control-Allow-Origin" not in service.call(headers=headers)["headers"]
    headers["origin"] = "https://app.example.com"
    preflight = service.call("OPTIONS", headers=headers)
    assert preflight["statusCode"] == 204
    assert "POST" in preflight["headers"]["Access-Control-Allow-Methods"]
    problem = service.call(headers=headers, body="{")
    assert problem["headers"]["Access-Control-Allow-Origin"] == "https://app.example.com"


def test_without_cors_no_header_is_sent(service: Service) -> None:
    """No origin is allowed unless one is configured."""
    headers = {"Content-Type": "application/json", "Origin": "https://app.example.com"}
    sent = service.call(headers=headers)["headers"]
    assert not any(name.startswith("Access-Control") for name in sent)


def test_the_canary_gets_raw_outputs_and_is_not_captured(service: Service) -> None:
    """A canary's request leaves no trace in metrics and captures."""
    status, body = service.predict(ROW, context={"apiId": "canary"})
    assert status == 200
    assert body["predictions"][0]["outputs"] == [1 - PROBABILITY, PROBABILITY]
    assert service.lines == []


def test_sampling_is_by_request_and_weighted() -> None:
    """A share of the requests is captured, whole, with the weight that makes up for the rest."""
    service = Service(sample_rate=0.25)
    for index in range(2000):
        service.call(context={"requestId": f"request-{index}"})
    assert 400 < len(service.captures) < 600
    assert {record["weight"] for record in service.captures} == {4.0}
    silent = Service(sample_rate=0.0)
    silent.call()
    assert silent.captures == []


def test_captures_are_split_below_200_kb() -> None:
    """A line stays short enough for the subscription filter, and no row is lost or doubled."""
    service = Service(max_rows=10_000)
    service.predict(*[{**ROW, "colour": "c" * 500, "age": index % 100} for index in range(900)])
    assert len(service.captures) > 2
    assert max(map(len, service.raw)) < 200_000
    ids = [row[0] for record in service.captures for row in record["rows"]]
    assert ids == [f"{REQUEST_ID}:{index}" for index in range(900)]


def test_capture_cannot_fail_a_request() -> None:
    """A log that cannot be written costs the capture, not the answer."""
    lines: list[str] = []

    def write(line: str) -> None:
        if '"capture":1' in line:
            raise OSError("broken pipe")
        lines.append(line)

    service = Service(write=write)
    assert service.call()["statusCode"] == 200
    assert any("not captured" in line for line in lines)


def test_a_model_without_a_finite_answer_is_a_500() -> None:
    """A number that JSON cannot hold is not passed off as null; the row is named."""
    model = model_document()
    model["tables"]["terms"][1] = {**model["tables"]["terms"][1], "missing": [math.nan]}
    service = Service(load=lambda: Model(bundle(model=model), run=RUN, version="1", max_rows=5))
    without = {name: value for name, value in ROW.items() if name != "basket total"}
    status, body = service.predict(ROW, without)
    assert status == 500
    assert "row 1" in body["detail"]
    assert service.captures == []


def test_an_error_of_ours_is_a_500_that_tells_nothing() -> None:
    """The traceback is logged under the request's id; the caller gets a problem document."""
    service = Service()
    service.api._model.render = lambda prediction: 1 / 0  # type: ignore[union-attr,assignment]
    response = service.call()
    assert response["statusCode"] == 500
    assert "ZeroDivisionError" not in response["body"]
    logged = next(line for line in service.lines if line.get("level") == "error")
    assert "ZeroDivisionError" in logged["error"]
    assert logged["request"] == REQUEST_ID


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["instances", "ids", "age", "colour", "salary"]) | st.text(),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=20,
        ).map(json.dumps),
    )
)
def test_no_body_is_ever_a_500(body: str) -> None:
    """Whatever is sent, the answer is defined."""
    response = SHARED.call(body=body)
    assert response["statusCode"] in (200, 400, 422)


SHARED = Service()


def test_examples_fit_their_contract() -> None:
    """The example shown in the document is accepted by the contract, whatever its limits."""
    contract = Contract(
        task="regression",
        target="y",
        columns=(
            Column("a", "number", min=0.25, max=0.75),
            Column("b", "integer", min=1.5),
            Column("c", "integer", max=-2.5),
            Column("d", "boolean"),
            Column("e", "timestamp"),
            Column("f", "text"),
            Column("g", "category"),
            Column("h", "number", max=-1),
        ),
    )
    RowAdapter(contract).validate_rows([example_row(contract)])
