"""How files make one table: they add up, the newest is it, or rows are merged by their id."""

import numpy as np
import pandas as pd
import pytest

from core.arrival import natural_order
from core.errors import DataError
from training.data.arrival import Arrived, Files, combine, drop_known


def customers(rows: int = 200, first: int = 0, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "customer": [f"c{first + i:05d}" for i in range(rows)],
            "age": random.integers(18, 80, rows),
            "balance": np.round(random.lognormal(7, 1, rows), 2),
            "churned": random.choice(["yes", "no"], rows),
        }
    )


def next_day(frame: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    moved = np.round(frame["balance"] * np.exp(random.normal(0, 0.02, len(frame))), 2)
    return frame.assign(balance=moved)


def arrive(
    *frames: pd.DataFrame,
    arrival: str = "append",
    id_column: str | None = "customer",
    deleted: str | None = None,
    snapshots: tuple[str, ...] = (),
) -> Arrived:
    files = Files(
        pd.concat(frames, ignore_index=True),
        np.repeat(np.arange(len(frames)), [len(frame) for frame in frames]),
        tuple(f"day-{k}.csv" for k in range(len(frames))),
        snapshots,
    )
    return combine(files, arrival=arrival, id_column=id_column, deleted=deleted)  # type: ignore[arg-type]


def test_new_rows_add_up() -> None:
    """Files of different customers are one table."""
    arrived = arrive(customers(), customers(first=200, seed=1))
    assert len(arrived.table) == 400
    assert [entry["used"] for entry in arrived.counts] == [200, 200]
    assert arrived.files.tolist() == [0] * 200 + [1] * 200


def test_a_full_export_is_not_taken_for_new_rows() -> None:
    """The run stops with the share, the file, and what to set."""
    first = customers()
    with pytest.raises(DataError) as caught:
        arrive(first, next_day(first))
    for words in (
        "100% of the ids",
        "day-1.csv",
        "day-0.csv",
        "full export",
        '"snapshot"',
        '"merge"',
    ):
        assert words in str(caught.value)


def test_updates_of_some_rows_are_not_taken_for_new_rows() -> None:
    """A tenth of the customers, with new balances, among new ones."""
    first = customers()
    second = pd.concat([next_day(first.head(20)), customers(180, first=200, seed=1)])
    with pytest.raises(DataError, match=r'10% of the ids.*rows that were updated.*"merge"'):
        arrive(first, second)


def test_the_same_file_under_other_names_counts_once() -> None:
    """Equal rows of different files count once, with an id or without, in whatever order."""
    first = customers()
    for id_column in ("customer", None):
        shuffled = first.sample(frac=1, random_state=3)
        arrived = arrive(first, shuffled, first, id_column=id_column)
        assert len(arrived.table) == 200
        assert arrived.counts[1]["left_out"] == {"equal to a row of another file": 200}


def test_equal_rows_within_a_file_are_cases() -> None:
    """What one file repeats stays; of two files that repeat a row, the more counts."""
    first = customers(50).drop(columns="customer")
    doubled = pd.concat([first, first.head(10), first.head(10)])
    assert len(arrive(doubled, id_column=None).table) == 70
    assert len(arrive(first, doubled, id_column=None).table) == 70


def test_a_table_of_counts_keeps_its_cases() -> None:
    """Where few rows are distinct, the next day's equal rows are cases; a copied file is not."""
    random = np.random.default_rng(0)
    days = [
        pd.DataFrame({"a": random.integers(0, 2, 100), "b": random.integers(0, 3, 100)})
        for _ in range(3)
    ]
    assert len(arrive(*days, id_column=None).table) == 300
    assert len(arrive(days[0], days[1], days[0], id_column=None).table) == 200


def test_the_newest_file_is_the_table() -> None:
    """Under "snapshot" older files do not count, nor do customers that left."""
    first = customers()
    second = next_day(first).iloc[20:]
    arrived = arrive(first, second, arrival="snapshot")
    assert arrived.table["balance"].tolist() == second["balance"].tolist()
    assert arrived.counts[0]["left_out"] == {"replaced by a newer file": 200}


def test_a_snapshot_may_come_in_parts() -> None:
    """The files of one folder are one snapshot."""
    first = customers()
    second = next_day(first)
    arrived = arrive(
        first,
        second.iloc[:90],
        second.iloc[90:],
        arrival="snapshot",
        snapshots=("monday", "tuesday", "tuesday"),
    )
    assert sorted(arrived.table["balance"]) == sorted(second["balance"])


def test_other_customers_are_no_newer_snapshot() -> None:
    """A file of other rows would silently replace the table."""
    with pytest.raises(DataError, match=r'0% of the ids.*other rows.*"append"'):
        arrive(customers(), customers(first=200, seed=1), arrival="snapshot")


def test_the_newest_row_of_an_id_counts() -> None:
    """Under "merge" rows are updated, added, and kept where nothing newer came."""
    first = customers()
    update = pd.concat([next_day(first.iloc[150:]), customers(30, first=200, seed=4)])
    arrived = arrive(first, update, arrival="merge")
    merged = arrived.table.set_index("customer")["balance"]
    assert len(merged) == 230
    assert merged["c00000"] == first["balance"][0]
    assert merged["c00150"] == update["balance"].iloc[0]
    assert arrived.counts[0]["left_out"] == {"replaced by a newer row of its id": 50}


def test_a_marker_removes_a_row() -> None:
    """`[data] deleted` names the column; a yes, true or a date marks, a no or nothing does not."""
    first = customers(6).assign(gone=None)
    second = first.assign(gone=["yes", "", None, "2026-01-03", "no", True])
    arrived = arrive(first, second, arrival="merge", deleted="gone")
    assert arrived.table["customer"].tolist() == ["c00001", "c00002", "c00004"]


def test_ids_that_start_anew_name_no_row() -> None:
    """Row numbers of each file are not the ids of customers: merging by them would lose rows."""
    frames = [customers(seed=k).assign(customer=np.arange(200)) for k in range(2)]
    for arrival in ("merge", "append"):
        with pytest.raises(DataError, match="starts anew in each file"):
            arrive(*frames, arrival=arrival)


def test_rows_without_an_id_are_kept() -> None:
    """A blank id names nobody: its rows replace none and are replaced by none."""
    first = customers(40)
    first.loc[:9, "customer"] = None
    arrived = arrive(first, next_day(first), arrival="merge")
    assert arrived.table["customer"].isna().sum() == 20
    assert arrived.table["customer"].notna().sum() == 30


def test_a_column_that_is_needed_must_be_there() -> None:
    """The message names the setting and the column."""
    with pytest.raises(DataError, match=r"\[problem\] id_column.*'number'"):
        arrive(customers(), arrival="merge", id_column="number")


def test_a_labelled_row_that_the_table_has_counts_once() -> None:
    """Rows that come back from service and as a file are one case."""
    table = customers()
    back = pd.concat([table.head(15), customers(5, first=900, seed=8)])[
        ["age", "balance", "churned"]
    ]
    assert len(drop_known(back, table)) == 5


def test_files_are_sorted_as_people_number_them() -> None:
    """Day 10 comes after day 9."""
    names = ["day-10.csv", "day-9.csv", "2026-01-02.csv", "2026-01-10.csv"]
    expected = ["2026-01-02.csv", "2026-01-10.csv", "day-9.csv", "day-10.csv"]
    assert sorted(names, key=natural_order) == expected
