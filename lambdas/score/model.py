"""The model of a job, as a function of rows: what is refused is named, the rest is answered."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple, Protocol

from core.answers import choose_answer, find_unseen, unseen_codes
from core.bundle import MODEL, Bundle
from core.contract import Contract
from core.engine import Header, load_engine, read_header
from core.errors import ContractError, EngineError, Problem

Row = Mapping[str, Any]


class Engine(Protocol):
    """Something that scores rows as they come, encoding included."""

    def score_rows(self, rows: Sequence[Row]) -> tuple[Sequence[int], list[list[float]]]:
        """Score the rows that are plainly within the contract, every category listed.

        Returns their places and their outputs; the others need a closer look.
        """
        ...

    def score_vectors(self, vectors: list[list[float]]) -> list[list[float]]:
        """Return the outputs of encoded rows."""
        ...


class Scored(NamedTuple):
    """The answers to some of the rows of a block, and the problems of the others, by place."""

    answers: dict[int, dict[str, Any]]
    problems: dict[int, list[Problem]]


class Tables:
    """The pure-Python tables; every row is looked at closely, none is scored unseen."""

    def __init__(self, bundle: Bundle, contract: Contract) -> None:
        """Load `model.json`; raises EngineError when it has no tables."""
        self.score_vectors: Callable[[list[list[float]]], list[list[float]]] = load_engine(
            bundle.file(MODEL)
        ).score_many

    def score_rows(self, rows: Sequence[Row]) -> tuple[Sequence[int], list[list[float]]]:
        """Leave every row to the contract's own validation."""
        return [], []


class Model:
    """A bundle, ready to score blocks of rows."""

    def __init__(
        self, bundle: Bundle, open_engine: Callable[[Bundle, Contract], Engine] = Tables
    ) -> None:
        """Read what scoring needs; raises BundleError, EngineError or their like."""
        self.contract = bundle.contract()
        self.header: Header = read_header(bundle.file(MODEL))
        if self.header.features != tuple(f.name for f in self.contract.features):
            raise EngineError("model.json and contract.json disagree on the encoded vector")
        self._engine = open_engine(bundle, self.contract)
        self._adapter = self.contract.row_adapter()
        self._answer = choose_answer(self.header, self.contract)
        self._codes = unseen_codes(self.contract)

    def score(self, ids: Sequence[str], rows: Sequence[Row]) -> Scored:
        """Answer every row that the contract accepts, and name what is wrong with the others."""
        places, outputs = self._engine.score_rows(rows)
        problems: dict[int, list[Problem]] = {}
        answers: dict[int, dict[str, Any]] = {}
        self._write(ids, places, outputs, answers, problems)
        if len(places) < len(rows):
            plain = set(places)
            rest = [place for place in range(len(rows)) if place not in plain]
            accepted, valid = self._validate(rest, rows, problems)
            vectors = [self.contract.encode(row) for row in valid]
            outputs = self._engine.score_vectors(vectors) if vectors else []
            self._write(ids, accepted, outputs, answers, problems)
            if self._codes:
                for place, vector in zip(accepted, vectors, strict=True):
                    if place in answers and (unseen := find_unseen(self._codes, vector)):
                        answers[place]["unseen"] = unseen
        return Scored(answers, problems)

    def _validate(
        self, places: list[int], rows: Sequence[Row], problems: dict[int, list[Problem]]
    ) -> tuple[list[int], list[dict[str, Any]]]:
        """Validate the rows at `places`: all at once, and again without those that are refused."""
        while places:
            try:
                return places, self._adapter.validate_rows([rows[place] for place in places])
            except ContractError as error:
                for problem in error.problems:
                    if problem.row is None:
                        raise
                    problems.setdefault(places[problem.row], []).append(problem)
                places = [place for place in places if place not in problems]
        return [], []

    def _write(
        self,
        ids: Sequence[str],
        places: Sequence[int],
        outputs: Sequence[list[float]],
        answers: dict[int, dict[str, Any]],
        problems: dict[int, list[Problem]],
    ) -> None:
        answer = self._answer
        for place, output in zip(places, outputs, strict=True):
            if isfinite(sum(output)):
                answers[place] = answer(ids[place], output)
            else:
                message = "the model has no finite answer to this row"
                problems[place] = [Problem(place, None, message, "no_finite_answer")]
