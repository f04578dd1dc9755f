"""An entity's rows, in the table and back from service, are on one side, today and tomorrow."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.bundle import ENTITIES, ENTITY_KEY, SEEN, Bundle, write_bundle
from core.entities import EntityKey
from core.errors import BundleError
from tests.training.projects import LIGHT, PROBLEMS, make_table, write_project
from tests.training.runs import run_local
from training.data import seen
from training.data.dataset import Data, read_data
from training.data.hashing import code_longer, code_texts, hash_values, place_named
from training.data.holdout import split_data
from training.data.seen import Seen
from training.jobs import Job, read_folder
from training.log import Log

GROUP = PROBLEMS["binary"] + '\ngroup_column = "customer"'
ID = PROBLEMS["binary"] + '\nid_column = "customer"'
BY_GROUP = f'[split]\nstrategy = "group"\n{LIGHT}'


def customers(rows: int, *, each: int = 3, first: int = 100) -> list[int]:
    return [first + i // each for i in range(rows)]


def make_grouped(folder: Path, rows: int = 240, **options: object) -> Path:
    frame = make_table("binary", rows=rows)
    frame["customer"] = customers(rows)
    return write_project(folder, frame, GROUP, BY_GROUP)


def bring_back(
    folder: Path, entities: list[str | None], *, name: str = "part-1", seed: int = 8
) -> pd.DataFrame:
    """Put labelled captures beside the table, as the monitor writes them."""
    rows = len(entities)
    frame = make_table("binary", rows=rows, seed=seed)
    frame["prediction_id"] = [f"{name}-{i}" for i in range(rows)]
    frame["prediction_time"] = 1_790_000_000_000 + np.arange(rows) * 60_000
    if any(entities):
        frame["entity_hash"] = entities
    (folder / "labelled").mkdir(exist_ok=True)
    text = frame.to_csv(index=False).encode()
    (folder / "labelled" / f"{name}.csv.gz").write_bytes(gzip.compress(text))
    return frame


def folder_of(folder: Path, bundle: Bundle) -> Path:
    return folder / "models" / bundle.lineage()["run"]


def job_of(folder: Path, champion: Path | None = None) -> Job:
    return read_folder(folder, champion=champion, trigger="manual", stage=None)


def read(folder: Path, champion: Path | None = None) -> Data:
    return read_data(job_of(folder, champion), Log(0.0))


def places(data: Data, strategy: str = "group") -> np.ndarray:
    return data.entities(strategy, 0)


def sides(folder: Path, champion: Path | None = None) -> tuple[Data, np.ndarray]:
    """Say of each row whether it is held out."""
    job = job_of(folder, champion)
    data = read_data(job, Log(0.0))
    held = np.zeros(len(data.frame), dtype=bool)
    held[split_data(job, data, Log(0.0)).holdout] = True
    return data, held


def champion_with(folder: Path, bundle: Bundle, **changes: bytes | None) -> Path:
    """Copy a bundle with other files in it; None leaves one out."""
    files = {name: bundle.file(name) for name in bundle.names}
    names = {"key": ENTITY_KEY, "record": ENTITIES, "seen": SEEN}
    for change, content in changes.items():
        files.pop(names[change], None)
        if content is not None:
            files[names[change]] = content
    write_bundle(folder, files)
    return folder


def test_rows_that_come_back_are_on_their_customers_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the table: 60 customers of it, 20 that it does not know, rows that name nobody."""
    folder = make_grouped(tmp_path)
    first = run_local(folder, capsys)
    hasher = EntityKey(first.file(ENTITY_KEY), "customer")
    known = [hasher.hash(100 + i) for i in range(60)]
    new = [hasher.hash(900 + i // 2) for i in range(40)]
    bring_back(folder, [*known, *new, *([None] * 30)])
    data, held = sides(folder, folder_of(folder, first))
    assert data.groups is not None
    table, back = np.flatnonzero(~data.fresh), np.flatnonzero(data.fresh)
    assert len(back) == 130
    side = dict(zip(customers(240), held[table], strict=True))
    assert held[back[:60]].tolist() == [side[100 + i] for i in range(60)]
    assert 0 < held[back[:60]].sum() < 60
    assert (held[back[60:100:2]] == held[back[61:100:2]]).all()
    assert len(np.unique(places(data)[back[100:]])) == 30


def test_nothing_moves_while_no_request_names_an_entity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same sides with a key, without one, and after labels came back that name nobody."""
    folder = make_grouped(tmp_path)
    expected = hash_values([str(c) for c in customers(240)], 0)
    assert (places(read(folder)) == expected).all()
    first = run_local(folder, capsys)
    champion = folder_of(folder, first)
    bring_back(folder, [None] * 50)
    data, held = sides(folder, champion)
    assert (places(data)[~data.fresh] == expected).all()
    assert ENTITIES not in data.entity_files
    without = champion_with(tmp_path / "older", first, key=None)
    _, also = sides(folder, without)
    assert (held == also).all()


@pytest.mark.parametrize("gaps", [False, True])
def test_whole_numbers_are_spelled_alike_with_gaps_and_without(tmp_path: Path, gaps: bool) -> None:
    """One customer without a number, or rows that lack the column, make no customer another."""
    frame = make_table("binary", rows=240)
    frame["customer"] = pd.array(customers(240), dtype="Int64")
    if gaps:
        frame.loc[7, "customer"] = pd.NA
    folder = write_project(tmp_path, frame, GROUP, BY_GROUP)
    bring_back(folder, [None] * 20)
    expected = hash_values([str(c) for c in customers(240)], 0)
    found = places(read(folder))[:240]
    same = np.arange(240) != 7 if gaps else np.ones(240, dtype=bool)
    assert (found[same] == expected[same]).all()


def test_a_row_without_a_name_goes_by_what_it_holds(tmp_path: Path) -> None:
    """Its place does not change when rows come before it."""
    folder = make_grouped(tmp_path)
    bring_back(folder, [None] * 20, name="part-2", seed=8)
    before = places(read(folder))
    bring_back(folder, [None] * 30, name="part-1", seed=9)
    after = places(read(folder))
    assert set(before[240:]) <= set(after[240:])


def test_the_key_is_made_once_and_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two first jobs make two keys; a job with a champion has its champion's."""
    folder = make_grouped(tmp_path)
    first, other = run_local(folder, capsys), run_local(folder, capsys)
    assert len(first.file(ENTITY_KEY)) == 32
    assert first.file(ENTITY_KEY) != other.file(ENTITY_KEY)
    second = run_local(folder, capsys, "--champion", str(folder_of(folder, first)))
    assert second.file(ENTITY_KEY) == first.file(ENTITY_KEY)
    # The key changes nothing else.
    for name in ("model.json", "evaluation.json", SEEN):
        assert first.file(name) == other.file(name)


def test_a_contract_without_entities_has_no_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is kept that nothing needs."""
    folder = write_project(tmp_path, make_table("binary"), PROBLEMS["binary"])
    assert not {ENTITY_KEY, ENTITIES} & set(run_local(folder, capsys).names)


def test_an_entity_keeps_its_side_when_the_table_learns_of_it_or_forgets_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """First met in service and then in the table, or first in the table and then not."""
    folder = make_grouped(tmp_path)
    first = run_local(folder, capsys)
    hasher = EntityKey(first.file(ENTITY_KEY), "customer")
    bring_back(folder, [hasher.hash(c) for c in [*range(900, 930), *range(100, 130)]])
    second = run_local(folder, capsys, "--champion", str(folder_of(folder, first)))
    champion = folder_of(folder, second)
    before = places(read(folder, folder_of(folder, first)))[240:]
    frame = pd.read_csv(folder / "table.csv")
    frame = frame[frame["customer"] >= 130]
    new = make_table("binary", rows=30, seed=4).assign(customer=range(900, 930))
    pd.concat([frame, new]).to_csv(folder / "table.csv", index=False)
    data = read(folder, champion)
    after = places(data)
    assert (after[data.fresh] == before).all()
    in_table = np.flatnonzero(~data.fresh)[-30:]
    assert (after[in_table] == before[:30]).all()
    # Who learns of it without the record takes it for another: the record is what keeps the side.
    forgetful = champion_with(tmp_path / "forgetful", second, record=None)
    assert not (places(read(folder, forgetful))[in_table] == before[:30]).any()


def test_what_the_champion_was_trained_on_is_known_across_table_and_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A customer that came as a labelled row only is not taken for unseen in the table."""
    folder = make_grouped(tmp_path)
    first = run_local(folder, capsys)
    hasher = EntityKey(first.file(ENTITY_KEY), "customer")
    bring_back(folder, [hasher.hash(900 + i) for i in range(60)])
    second = run_local(folder, capsys, "--champion", str(folder_of(folder, first)))
    _, held = sides(folder, folder_of(folder, first))
    new = make_table("binary", rows=60, seed=4).assign(customer=range(900, 960))
    pd.concat([pd.read_csv(folder / "table.csv"), new]).to_csv(folder / "table.csv", index=False)
    data = read(folder, folder_of(folder, second))
    record = Seen.from_bytes(second.file(SEEN))
    spots, by = data.place_in(data.matrix, "group", seen.SEED)
    assert by == record.by == "group"
    excluded = record.excludes(spots)[240:300]
    assert excluded.tolist() == held[240:300].tolist()
    assert 0 < excluded.sum() < 60


def test_entities_that_are_nowhere_any_more_are_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record holds those of the table or of labelled rows only."""
    folder = make_grouped(tmp_path)
    first = run_local(folder, capsys)
    hasher = EntityKey(first.file(ENTITY_KEY), "customer")
    bring_back(folder, [hasher.hash(900 + i) for i in range(40)], name="part-1")
    bring_back(folder, [hasher.hash(100 + i) for i in range(40)], name="part-2", seed=9)
    second = run_local(folder, capsys, "--champion", str(folder_of(folder, first)))
    (folder / "labelled" / "part-1.csv.gz").unlink()
    (folder / "labelled" / "part-2.csv.gz").unlink()
    third = run_local(folder, capsys, "--champion", str(folder_of(folder, second)))

    def entities(bundle: Bundle) -> set[str]:
        body = bundle.file(ENTITIES)[8:]
        return {body[i : i + 32].decode() for i in range(0, len(body), 40)}

    texts = {c: str(hasher.hash(c)).partition(":")[2] for c in [*range(900, 940), *range(100, 140)]}
    assert entities(second) == set(texts.values())
    assert entities(third) == {texts[c] for c in range(100, 140)}


def test_hashes_under_another_key_stay_together_and_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They cannot be looked up: the log says how many, and what happened."""
    folder = make_grouped(tmp_path)
    foreign = EntityKey(bytes(32), "customer")
    bring_back(folder, [foreign.hash(100 + i // 2) for i in range(40)])
    data = read(folder)
    said = capsys.readouterr().out
    assert "warning: 20 of these were hashed under another key or for another column" in said
    found = places(data)[240:]
    assert len(np.unique(found)) == 20
    assert not set(found) & set(places(data)[:240])


def test_ids_are_entities_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a random split that goes by the id; a labelled row is no newer state of the table's."""
    frame = make_table("binary").assign(customer=range(100, 340))
    merging = '[data]\nfile = "table.csv"\narrival = "merge"'
    folder = write_project(tmp_path, frame, ID)
    settings = (folder / "project.toml").read_text().replace('[data]\nfile = "table.csv"', merging)
    (folder / "project.toml").write_text(settings)
    first = run_local(folder, capsys)
    assert first.evaluation()["split"]["by"] == "id"
    hasher = EntityKey(first.file(ENTITY_KEY), "customer")
    bring_back(folder, [hasher.hash(100 + i % 50) for i in range(100)])
    data, held = sides(folder, folder_of(folder, first))
    assert (~data.fresh).sum() == 240
    assert data.fresh.sum() == 100
    assert held[240:].tolist() == held[:50].tolist() * 2
    job = job_of(folder, folder_of(folder, first))
    units = split_data(job, data, Log(0.0)).units
    assert (units[240:290] == units[:50]).all()


def test_labelled_rows_of_a_deleted_id_go_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the table marks as deleted is trained on from nowhere."""
    frame = make_table("binary").assign(customer=range(100, 340), gone="no")
    text = '[data]\nfile = "table.csv"\narrival = "merge"\ndeleted = "gone"'
    folder = write_project(tmp_path, frame, ID)
    toml = (folder / "project.toml").read_text()
    toml = toml.replace('[data]\nfile = "table.csv"', text)
    head, _, tail = toml.partition('[columns."gone"]')
    (folder / "project.toml").write_text(head + tail.partition("missing = true\n")[2])
    first = run_local(folder, capsys)
    hasher = EntityKey(first.file(ENTITY_KEY), "customer")
    back = bring_back(folder, [hasher.hash(100 + i) for i in range(50)])
    frame.loc[:9, "gone"] = "yes"
    frame.to_csv(folder / "table.csv", index=False)
    data = read(folder, folder_of(folder, first))
    assert (~data.fresh).sum() == 230
    assert data.frame.loc[data.fresh, "size"].tolist() == pytest.approx(back["size"][10:].tolist())


def test_an_input_of_the_tables_own_is_not_taken_for_the_hashes(tmp_path: Path) -> None:
    """A column `entity_hash` that holds something else is a column."""
    frame = make_table("binary").assign(customer=customers(240), entity_hash="green")
    folder = write_project(tmp_path, frame, GROUP, BY_GROUP)
    back = make_table("binary", rows=20, seed=8).assign(entity_hash="green")
    back["prediction_id"] = range(20)
    (folder / "labelled").mkdir()
    back.to_csv(folder / "labelled" / "part-1.csv", index=False)
    data = read(folder)
    assert (data.frame["entity_hash"] == "green").all()
    assert len(np.unique(places(data)[240:])) == 20


def test_the_record_of_an_earlier_release_counts_doubtful_rows_as_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It spelled 100 as 100.0 where a column had gaps, and placed nameless rows by position."""
    folder = make_grouped(tmp_path)
    first = run_local(folder, capsys)
    bring_back(folder, [None] * 40)
    _, held = sides(folder, folder_of(folder, first))
    trained = [f"{c}.0" for c, out in zip(customers(240), held[:240], strict=True) if not out]
    spots = np.unique(hash_values(trained, seen.SEED))
    old = np.r_[[0.0, 1.0], spots].astype("<f8").tobytes()
    champion = champion_with(tmp_path / "older", first, key=None, seen=old)
    run = run_local(folder, capsys, "--champion", str(champion))
    found = run.evaluation()["champion"]
    assert found["everything"]["rows"] == held[:240].sum()
    assert found["fresh"] is None or found["fresh"]["rows"] == 0


def test_codes_are_of_texts_and_go_on_from_a_checksum() -> None:
    """A code places as its text does, and a longer text's code follows from it."""
    texts = ["a", "100", "Größe", "x" * 300]
    assert (hash_values(code_texts(texts), 7) == hash_values(texts, 7)).all()
    longer = code_texts([f"{text}.0" for text in texts])
    assert (code_longer(code_texts(texts), ".0") == longer).all()
    assert code_longer(code_texts([]), ".0").tolist() == []


def test_rows_of_one_name_have_one_place_whatever_they_hold() -> None:
    """Named rows by their names, the others by their values."""
    matrix = np.arange(12.0).reshape(6, 2)
    matrix[5] = matrix[4]
    names = np.r_[code_texts(["a", "b", "a", "b"]), np.zeros(2, dtype=np.uint64)]
    found = place_named(names, matrix, 0)
    assert found[0] == found[2] != found[1] == found[3]
    assert found[4] == found[5]
    assert len(np.unique(found)) == 3


@pytest.mark.parametrize("content", [b"", b"abc", b"12345678" + b"x" * 39])
def test_a_damaged_record_is_refused(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rather than that entities change sides."""
    folder = make_grouped(tmp_path)
    champion = champion_with(tmp_path / "damaged", run_local(folder, capsys), record=content)
    with pytest.raises(BundleError, match=r"entities\.bin is not a record of entities"):
        read(folder, champion)
