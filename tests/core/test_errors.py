"""The exception tree."""

import inspect

from core import errors
from core.errors import ContractError, DataError, DriftlessError, Problem


def test_every_error_has_the_one_base_and_stands_in_the_drawing() -> None:
    """A handler may catch DriftlessError and miss nothing; the docstring draws the whole tree."""
    classes = [
        c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__
    ]
    raised = [c for c in classes if issubclass(c, Exception)]

    assert all(issubclass(c, DriftlessError) for c in raised)
    assert all(c.__name__ in (errors.__doc__ or "") for c in raised)


def test_a_contract_error_shows_the_first_problems_and_keeps_all() -> None:
    """The text stays short; the list is whole."""
    problems = [Problem(row, "age", "must be a number", "wrong_type") for row in range(8)]

    error = ContractError("the request does not fit", problems)

    assert error.problems == problems
    assert str(error).count("must be a number") == 5
    assert str(error).endswith("and 3 more")


def test_a_data_error_lists_every_problem_on_its_own_line() -> None:
    """SageMaker's failure file shows all that is wrong with a table."""
    problems = [
        Problem(None, f"c{i}", "2 of 9 rows hold no number", "wrong_type") for i in range(7)
    ]

    lines = str(DataError("the table does not fit", problems)).splitlines()

    assert len(lines) == 8
    assert lines[3] == "  - column 'c2': 2 of 9 rows hold no number"


def test_a_problem_leaves_out_what_does_not_apply() -> None:
    """A problem document has no null members."""
    assert Problem(None, None, "no rows", "no_rows").to_dict() == {
        "message": "no rows",
        "code": "no_rows",
    }
    assert Problem(0, "a", "m", "c").to_dict() == {
        "row": 0,
        "column": "a",
        "message": "m",
        "code": "c",
    }
