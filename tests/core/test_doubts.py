"""Doubts as evaluation.json lists them, and as project.toml accepts them."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from core.doubts import RaisedDoubt, read_doubts, write_accepted


def test_what_holds_comes_first() -> None:
    """Whoever reads the first doubt reads one that a person has still to look at."""
    found = read_doubts(
        {
            "doubts": [
                {"name": "order", "sentence": "in order", "columns": [], "accepted": True},
                {"name": "alone:a", "sentence": "tells all", "columns": ["a"], "accepted": False},
                {"name": "files", "sentence": "by file"},
            ]
        }
    )

    assert found == (
        RaisedDoubt("alone:a", "tells all", False),
        RaisedDoubt("files", "by file", False),
        RaisedDoubt("order", "in order", True),
    )


def test_bundles_of_older_releases_have_none() -> None:
    """An evaluation without the member is one without doubts."""
    assert read_doubts({}) == ()
    assert read_doubts({"doubts": None}) == ()


def test_a_sentence_is_one_line() -> None:
    """A column's name may hold a line break; registry and mail take one line."""
    (found,) = read_doubts({"doubts": [{"name": "alone:a\nb", "sentence": "'a\nb'\ttells"}]})
    assert found == RaisedDoubt("alone:a\nb", "'a b' tells")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True))
def test_the_key_to_accept_doubts_is_toml(names: list[str]) -> None:
    """What a person copies into project.toml reads as the very names."""
    assert tomllib.loads(write_accepted(names)) == {"accepted": names}
