"""What Plan takes for data, what it tells people, and when it holds a run."""

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import pytest

from core.arrival import Arrival
from lambdas.plan.env import Data
from lambdas.plan.memory import MEMORY
from lambdas.plan.objects import ObjectVersion
from tests.lambdas.test_plan import NOW, RUNS, SETTINGS, World, version

PLAIN = Data(arrival="append", id_column="", separator="", encoding="", columns=())


def export(first: int, rows: int, seed: int) -> bytes:
    """Write customers of consecutive numbers, each with values of this seed."""
    draw = random.Random(seed)
    lines = ["customer,age,balance,churned"]
    for number in range(first, first + rows):
        age = 20 + number % 50
        lines.append(f"c{number:05d},{age},{draw.random():.6f},{number % 2}")
    return ("\n".join(lines) + "\n").encode()


class Stage(World):
    """A world in which files arrive day by day."""

    def __init__(self, arrival: Arrival = "append", id_column: str = "customer") -> None:
        super().__init__()
        self.versions = []
        table = PLAIN.model_copy(update={"id_column": id_column})
        self.settings = dataclasses.replace(SETTINGS, arrival=arrival, table=table)
        self.day = 0
        self.reads: list[str] = []

    def read_start(self, version: ObjectVersion, limit: int) -> bytes:
        self.reads.append(version.key)
        return super().read_start(version, limit)

    def arrive(self, key: str, body: bytes) -> None:
        """Put an object; one of the same key is replaced by a new version."""
        self.day += 1
        self.versions = [known for known in self.versions if known.key != key]
        self.versions.append(version(key, f"v{self.day}", len(body), self.day))
        self.bodies[key] = body

    def run(self, trigger: str = "data", **options: Any) -> Any:
        """Plan in an execution of its own."""
        name = f"run-{len(self.executions)}-{self.day}-{random.random()}"
        self.executions = {f"{RUNS}:{name}": (NOW, trigger)}
        return self.plan(trigger, name, **options)


IGNORED = ("data/.DS_Store", "data/README.md", "data/_SUCCESS", "data/x/_temporary/0/part-0.csv")


@pytest.mark.parametrize("key", IGNORED)
def test_what_holds_no_rows_starts_nothing(key: str) -> None:
    """It is no input, it changes no fingerprint, nobody is told."""
    stage = Stage()
    stage.arrive("data/a.csv", export(0, 40, 1))
    stage.adopt(stage.run())
    stage.arrive(key, b"x")
    decision = stage.run()
    assert (decision.action, decision.notice) == ("skip", None)
    assert decision.reason.startswith("nothing changed")
    forced = stage.run(force=True)
    assert not [name for name in stage.copies if name.endswith(key)]
    assert forced.action == "train"


def test_what_holds_no_rows_does_not_repeat_a_run_that_failed() -> None:
    """No model has the fingerprint then; the tables are those of the last run all the same."""
    stage = Stage()
    stage.arrive("data/a.csv", export(0, 40, 1))
    assert stage.run().action == "train"
    stage.arrive("data/README.md", b"about")
    decision = stage.run()
    assert (decision.action, "python -m ops train" in decision.reason) == ("skip", True)
    assert stage.run("manual").action == "train"
    assert stage.run("schedule").action == "train"
    stage.arrive("data/a.csv", export(0, 40, 1))
    assert stage.run().action == "train", "the same table again is a new version"


def test_a_retry_of_plan_is_not_taken_for_a_second_run() -> None:
    """Step Functions calls again after a fault: the same execution trains, and tells again."""
    stage = Stage()
    stage.arrive("data/a.csv", export(0, 40, 1))
    stage.arrive("data/t.xlsx", b"PK")
    stage.executions = {f"{RUNS}:one": (NOW, "data")}
    first, second = stage.plan("data", "one"), stage.plan("data", "one")
    assert first == second
    assert (second.action, second.notice is None) == ("train", False)


@pytest.mark.parametrize(
    ("key", "body", "words"),
    [
        ("data/t.xlsx", b"PK", ("spreadsheet", "python -m ops data t.xlsx")),
        ("data/in/t.ods", b"PK", ("spreadsheet", "python -m ops data t.ods")),
        ("data/rows.json", b"[]", ("JSON", "python -m ops data rows.json")),
        ("data/empty.csv", b"", ("is empty", "write it again")),
        ("data/rows.orc", b"ORC", ("ORC", "CSV or Parquet")),
    ],
)
def test_what_is_not_read_is_told_once(key: str, body: bytes, words: Sequence[str]) -> None:
    """The notice names the file, why and what to do; a new version is told again."""
    stage = Stage()
    stage.arrive("data/a.csv", export(0, 40, 1))
    stage.adopt(stage.run())
    stage.arrive(key, body)
    told = stage.run()
    assert told.action == "skip"
    assert told.notice.subject == "shop-dev: files under data/ are not read"
    for text in (told.notice.message, told.reason):
        assert all(word in text for word in (key, *words))
    again = stage.run()
    assert again.notice is None
    assert key in again.reason, "status still says so"
    stage.arrive(key, body)
    assert stage.run().notice is not None
    stage.versions = [known for known in stage.versions if known.key != key]
    assert key not in stage.run().reason
    assert key not in stage.objects[MEMORY].decode()


def test_what_is_not_read_alone_is_no_data() -> None:
    """A bucket with a spreadsheet and no table says both."""
    stage = Stage()
    stage.arrive("data/t.xlsx", b"PK")
    decision = stage.run()
    assert decision.action == "skip"
    assert "no training data under data/ yet" in decision.reason
    assert "t.xlsx" in decision.notice.message


def test_a_full_export_is_held() -> None:
    """Told as new rows, it puts every customer on both sides of the holdout: nothing is trained."""
    stage = Stage()
    stage.arrive("data/day-1.csv", export(0, 300, 1))
    stage.adopt(stage.run())
    stage.arrive("data/day-2.csv", export(6, 300, 2))
    copies = dict(stage.copies)
    decision = stage.run()
    assert decision.to_dict().keys() == {"action", "reason", "notice"}
    assert decision.action == "hold"
    for words in (
        "98% of the ids ('customer') in data/day-2.csv are in data/day-1.csv with other values",
        "a full export?",
        '"snapshot"',
        '"merge"',
    ):
        assert words in decision.reason
        assert words in decision.notice.message
    assert decision.notice.subject == "shop-dev: a training run is held"
    assert "docs/data.md" in decision.notice.message
    assert stage.copies == copies


def test_a_hold_is_told_once_and_not_overcome_by_force() -> None:
    """Training would refuse the same files: to force it costs a job. New data is told again."""
    stage = Stage()
    stage.arrive("data/day-1.csv", export(0, 300, 1))
    stage.adopt(stage.run())
    stage.arrive("data/day-2.csv", export(0, 300, 2))
    assert stage.run().notice is not None
    stage.arrive("data/.DS_Store", b"x")
    assert (stage.run().action, stage.run().notice) == ("hold", None)
    assert stage.run("manual", force=True).action == "hold"
    stage.arrive("data/day-3.csv", export(0, 300, 3))
    assert stage.run().notice is not None


@pytest.mark.parametrize("arrival", ["snapshot", "merge"])
def test_the_setting_lets_it_go_on(arrival: Arrival) -> None:
    """What the sentence says to set is what makes the run go on."""
    stage = Stage(arrival)
    stage.arrive("data/day-1.csv", export(0, 300, 1))
    stage.adopt(stage.run())
    stage.arrive("data/day-2.csv", export(0, 300, 2))
    assert stage.run().action == "train"


def test_files_that_fit_are_not_held() -> None:
    """New customers, the same file under another name, and tables without an id go on."""
    stage = Stage()
    stage.arrive("data/day-1.csv", export(0, 300, 1))
    stage.adopt(stage.run())
    stage.arrive("data/day-2.csv", export(300, 300, 2))
    stage.adopt(stage.run())
    stage.arrive("data/copy.csv", export(0, 300, 1))
    stage.adopt(stage.run())
    unnamed = Stage(id_column="")
    for day in range(2):
        unnamed.arrive(f"data/day-{day}.csv", export(0, 300, day))
    assert unnamed.run().action == "train"
    assert unnamed.reads == []


def test_other_rows_are_no_newer_snapshot() -> None:
    """The newest file would silently replace a table of other customers."""
    stage = Stage("snapshot")
    stage.arrive("data/day-1.csv", export(0, 300, 1))
    stage.adopt(stage.run())
    stage.arrive("data/day-2.csv", export(290, 300, 2))
    decision = stage.run()
    assert decision.action == "hold"
    assert "3% of the ids" in decision.reason
    assert '"append"' in decision.reason


def test_the_parts_of_a_snapshot_are_one() -> None:
    """Two parts of one folder have no id in common, and are not two tables."""
    stage = Stage("snapshot")
    stage.arrive("data/day-1/part-0.csv", export(0, 150, 1))
    stage.arrive("data/day-1/part-1.csv", export(150, 150, 1))
    stage.adopt(stage.run())
    stage.arrive("data/day-2/part-0.csv", export(0, 150, 2))
    stage.arrive("data/day-2/part-1.csv", export(150, 150, 2))
    assert stage.run().action == "train"


def test_ids_that_start_anew_are_held() -> None:
    """A row number of each file names no row: merging by it would lose rows."""
    stage = Stage("merge", "row")
    for day in range(2):
        draw = random.Random(day)
        cells = ((n, draw.randint(18, 80), f"{draw.random():.5f}") for n in range(200))
        text = "\n".join(["row,age,balance", *(",".join(map(str, row)) for row in cells)])
        stage.arrive(f"data/day-{day}.csv", text.encode())
    decision = stage.run()
    assert decision.action == "hold"
    assert "starts anew in each file" in decision.reason


def test_what_the_champion_was_trained_on_is_not_judged_again() -> None:
    """Without a new table nothing is read; under other settings everything is new."""
    stage = Stage()
    stage.arrive("data/day-1.csv", export(0, 300, 1))
    stage.arrive("data/day-2.csv", export(300, 300, 1))
    stage.adopt(stage.run())
    stage.reads.clear()
    assert stage.run("manual", force=True).action == "train"
    assert stage.reads == []
    stage.settings = dataclasses.replace(
        stage.settings, arrival="snapshot", settings_digest="another"
    )
    assert stage.run().action == "skip"  # the same tables: a deploy is no arrival
    assert stage.run("manual").action == "hold"


def test_what_cannot_be_sampled_is_left_to_training() -> None:
    """Parquet and torn gzip are judged by the training job, which reads every row."""
    stage = Stage()
    stage.arrive("data/day-1.csv", export(0, 300, 1))
    stage.adopt(stage.run())
    stage.arrive("data/day-2.parquet", b"PAR1 and more")
    assert stage.run().action == "train"
    stage.arrive("data/day-3.csv.gz", b"\x1f\x8b torn")
    assert stage.run().action == "train"
