"""The live model: what it is asked, what it answers, what it says of itself."""

from collections.abc import Callable
from math import isfinite
from typing import Any, NamedTuple, Protocol

import orjson

from core.answers import choose_answer, find_unseen, unseen_codes
from core.bundle import ENTITY_KEY, MODEL, Bundle
from core.contract import Column, Contract
from core.contract.rows import LabelEntry, RowAdapter
from core.engine import Explanation, Header, TableEngine, load_engine, read_header
from core.entities import EntityKey
from core.errors import ContractError, EngineError, Problem

# What callers learn of a file that the model was trained on: which it was, not what was in it.
SHOWN_OF_INPUTS = ("key", "sha256", "bytes", "version_id", "etag")
# Explaining costs about a millisecond a row; a request must end well within its time.
MAX_EXPLAINED_ROWS = 100


class Engine(Protocol):
    """Something that scores encoded rows."""

    def score(self, vector: list[float]) -> list[float]:
        """Return the outputs of one row."""
        ...

    def score_many(self, vectors: list[list[float]]) -> list[list[float]]:
        """Return the outputs of many rows."""
        ...


class Prediction(NamedTuple):
    """The answer to one request: what is sent back and what is captured of it.

    `entities` are the names of whose rows they are, which only their hashes leave.
    """

    ids: list[str]
    rows: list[dict[str, Any]]
    outputs: list[list[float]]
    answers: list[dict[str, Any]]
    entities: list[Any] | None


class Model:
    """A bundle, ready to answer.

    ``open_engine`` makes another engine than the tables from the bundle; explanations always come
    from the tables.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        run: str,
        version: str,
        max_rows: int,
        auth: str = "iam",
        public_docs: bool = False,
        open_engine: Callable[[Bundle], Engine] | None = None,
    ) -> None:
        """Read what predicting needs; raises ``BundleError``, ``EngineError`` or their like."""
        self.run = run
        self.version = version
        self.name = {"version": version, "run": run}
        self._bundle = bundle
        self._options: dict[str, Any] = {
            "auth": auth,
            "public_docs": public_docs,
            "max_rows": max_rows,
        }
        self.contract: Contract = bundle.contract()
        self.sensitive = frozenset(c.name for c in self.contract.columns if c.sensitive)
        self._adapter = RowAdapter(self.contract, max_rows)
        # The entity is taken out of a row; where it is an input that is not captured, it stays.
        self._entity = self.contract.entity_member
        self._take: Callable[..., Any] = dict.pop
        if self._entity is None and self.contract.entity_column in self.sensitive:
            self._entity, self._take = self.contract.entity_column, dict.get
        self.hash_entity: Callable[[Any], str | None] | None = None
        if self._entity is not None and ENTITY_KEY in bundle:
            self.hash_entity = EntityKey(bundle.file(ENTITY_KEY), self._entity).hash
        self._tables: TableEngine | None = None
        self._header: Header
        if open_engine is None:
            self._tables = load_engine(bundle.file(MODEL))
            self._header = self._tables.header
            self._engine: Engine = self._tables
        else:
            self._header = read_header(bundle.file(MODEL))
            self._engine = open_engine(bundle)
        if self._header.features != tuple(f.name for f in self.contract.features):
            raise EngineError("model.json and contract.json disagree on the encoded vector")
        self._answer = choose_answer(self._header, self.contract)
        # Clusters have no order that two models share, and their first output is only a label.
        self.score_place = -1 if self.contract.task == "clustering" else 0
        self._codes = unseen_codes(self.contract)
        self._tail = b',"model":' + orjson.dumps(self.name) + b"}"
        self._documents: dict[str, dict[str, Any]] = {}
        # The first call of anything is the slowest: let it be part of init.
        self._engine.score([float("nan")] * len(self._header.features))

    def predict(
        self, body: bytes | str, request_id: str, *, explain: bool = False, raw: bool = False
    ) -> Prediction:
        """Answer a body of POST /predict, or raise ``ContractError`` with every problem.

        A row without an id of the caller's is named after the request and its place in it. ``raw``
        adds the model's outputs as they are, which the canary compares. Raises ``EngineError``
        when the model answers something that is no finite number.
        """
        request = self._adapter.validate_request(body)
        rows = request["instances"]
        ids = request.get("ids")
        if ids is None:
            ids = [f"{request_id}:{index}" for index in range(len(rows))]
        entities = None
        if self._entity is not None:
            take, entity = self._take, self._entity
            entities = [take(row, entity, None) for row in rows]
        encode = self.contract.encode
        if len(rows) == 1:
            vectors = [encode(rows[0])]
            outputs = [self._engine.score(vectors[0])]
        else:
            vectors = [encode(row) for row in rows]
            outputs = self._engine.score_many(vectors)
        for row, output in enumerate(outputs):
            if not isfinite(sum(output)):
                raise EngineError(f"the model has no finite answer to row {row}")
        answer = self._answer
        answers = [answer(i, o) for i, o in zip(ids, outputs, strict=True)]
        if self._codes:
            for given, vector in zip(answers, vectors, strict=True):
                if unseen := find_unseen(self._codes, vector):
                    given["unseen"] = unseen
        if explain:
            self._explain(vectors, answers)
        if raw:
            for given, output in zip(answers, outputs, strict=True):
                given["outputs"] = output
        return Prediction(ids, rows, outputs, answers, entities)

    def render(self, prediction: Prediction) -> bytes:
        """Write the response's body."""
        return b'{"predictions":' + orjson.dumps(prediction.answers) + self._tail

    def parse_labels(self, body: bytes | str) -> list[LabelEntry]:
        """Read a body of POST /feedback, or raise ``ContractError`` with every problem."""
        return self._adapter.validate_labels(body)

    def describe(self) -> dict[str, Any]:
        """Return the model's card: contract, metrics, lineage."""
        return {
            "model": self.name,
            "contract": orjson.loads(self.contract.to_json()),
            "metrics": self._bundle.evaluation().get("metrics", {}),
            "lineage": _show_lineage(self._bundle.lineage()),
        }

    def openapi(self, server: str) -> dict[str, Any]:
        """Return the OpenAPI document of the API at a server's URL."""
        if server not in self._documents:
            # Rarely asked for, and large: a cold start need not wait for it.
            from core.contract.openapi import describe_api

            self._documents[server] = describe_api(
                self.contract,
                title=f"Predictions of {self.contract.target or self.contract.task}",
                version=self.version,
                description=f"Answered by the model of run {self.run}.",
                server=server,
                example=example_row(self.contract),
                **self._options,
            )
        return self._documents[server]

    def _explain(self, vectors: list[list[float]], answers: list[dict[str, Any]]) -> None:
        if len(vectors) > MAX_EXPLAINED_ROWS:
            message = f"at most {MAX_EXPLAINED_ROWS} rows are explained at once"
            raise ContractError(
                "the request does not fit the contract",
                [Problem(None, None, message, "too_many_rows")],
            )
        try:
            if self._tables is None:
                self._tables = load_engine(self._bundle.file(MODEL))
            for vector, given in zip(vectors, answers, strict=True):
                given["explanation"] = _write_explanation(self._tables.explain(vector))
        except EngineError as error:
            raise ContractError(
                "the request does not fit the model",
                [Problem(None, None, str(error), "cannot_explain")],
            ) from error


def _write_explanation(explanation: Explanation) -> dict[str, Any]:
    """Write attributions by output and column; base and contributions sum to the score."""
    outputs = {}
    for name, base, contributions in zip(
        explanation.outputs, explanation.base, explanation.contributions, strict=True
    ):
        outputs[name] = {
            "base": base,
            "contributions": dict(zip(explanation.columns, contributions, strict=True)),
        }
    return {"scale": explanation.scale, "outputs": outputs}


def _show_lineage(lineage: dict[str, Any]) -> dict[str, Any]:
    """Leave out of the lineage how many rows the files brought and why some do not count."""
    inputs = [
        {name: entry[name] for name in SHOWN_OF_INPUTS if name in entry}
        for entry in lineage.get("inputs") or ()
    ]
    return {**lineage, "inputs": inputs} if "inputs" in lineage else lineage


def example_row(contract: Contract) -> dict[str, Any]:
    """Make up a row that the contract accepts; it holds no real data."""
    return {column.name: _example_value(column) for column in contract.columns}


def _example_value(column: Column) -> Any:
    match column.type:
        case "category":
            return column.categories[0] if column.categories else "a"
        case "boolean":
            return True
        case "timestamp":
            return "2026-01-31T09:30:00Z"
        case "text":
            return "some words"
    # A limit is always within itself; a whole one for an integer column.
    if column.type == "number":
        return next((limit for limit in (column.min, column.max) if limit is not None), 0.0)
    if column.min is not None:
        return -int(-column.min // 1)
    return int(column.max // 1) if column.max is not None else 0
