"""The model of a job, as a function of blocks of rows: some are refused, the rest scored."""

from collections.abc import Callable
from typing import NamedTuple

import numpy

from core.answers import unseen_codes
from core.bundle import MODEL, Bundle
from core.contract.rows import RowAdapter
from core.engine import Header, read_header
from core.errors import ContractError, EngineError, Problem
from lambdas.score.blocks import Block
from lambdas.score.columns import Encoder, Matrix
from lambdas.score.tables import open_tables

# From encoded rows to outputs, row by row the numbers that `Contract.outputs` names.
Engine = Callable[[Matrix], Matrix]


class Scored(NamedTuple):
    """What came of a block.

    `places`, in ascending order, are those in the block of the rows that are answered, `outputs`
    their numbers. `unseen` has, by a row's place in `outputs`, the columns whose category the
    model never saw; `problems`, by a row's place in the block, why it is refused.
    """

    places: list[int]
    outputs: Matrix
    unseen: dict[int, list[str]]
    problems: dict[int, list[Problem]]


class Model:
    """A bundle, ready to score blocks of rows."""

    def __init__(
        self, bundle: Bundle, open_engine: Callable[[Bundle], Engine] = open_tables
    ) -> None:
        """Read what scoring needs; raises BundleError, EngineError or their like."""
        self.contract = bundle.contract()
        self.header: Header = read_header(bundle.file(MODEL))
        if self.header.features != tuple(f.name for f in self.contract.features):
            raise EngineError("model.json and contract.json disagree on the encoded vector")
        self._engine = open_engine(bundle)
        self._encoder = Encoder(self.contract)
        self._adapter = RowAdapter(self.contract)
        self._codes = unseen_codes(self.contract)

    def score(self, block: Block) -> Scored:
        """Score every row that the contract accepts, and name what is wrong with the others."""
        matrix, plain = self._encoder.encode(block.columns, len(block.numbers), typed=block.typed)
        plain[list(block.odd)] = False
        problems: dict[int, list[Problem]] = {}
        rest: list[int] = numpy.flatnonzero(~plain).tolist()
        if rest:
            for place, vector in self._look_closer(block, rest, problems):
                matrix[place] = vector
                plain[place] = True
        places = numpy.flatnonzero(plain)
        accepted = matrix if len(places) == len(matrix) else matrix[places]
        outputs = self._engine(accepted) if len(places) else accepted[:, :0]
        finite = numpy.isfinite(outputs).all(axis=1)
        if not finite.all():
            message = "the model has no finite answer to this row"
            for place in places[~finite].tolist():
                problems[place] = [Problem(place, None, message, "no_finite_answer")]
            places, outputs, accepted = places[finite], outputs[finite], accepted[finite]
        return Scored(places.tolist(), outputs, self._find_unseen(accepted), problems)

    def _look_closer(
        self, block: Block, places: list[int], problems: dict[int, list[Problem]]
    ) -> list[tuple[int, list[float]]]:
        """Validate the rows at `places`: all at once, and again without those that are refused.

        Gives the accepted ones encoded, and adds to `problems` those of the others.
        """
        rows = {place: block.row(place) for place in places}
        while rows:
            try:
                valid = self._adapter.validate_rows(list(rows.values()))
            except ContractError as error:
                asked = list(rows)
                for problem in error.problems:
                    if problem.row is None:
                        raise
                    problems.setdefault(asked[problem.row], []).append(problem)
                rows = {place: row for place, row in rows.items() if place not in problems}
            else:
                return [(p, self.contract.encode(row)) for p, row in zip(rows, valid, strict=True)]
        return []

    def _find_unseen(self, rows: Matrix) -> dict[int, list[str]]:
        unseen: dict[int, list[str]] = {}
        for position, code, name in self._codes:
            for place in numpy.flatnonzero(rows[:, position] == code).tolist():
                unseen.setdefault(place, []).append(name)
        return unseen
