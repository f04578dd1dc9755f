"""Traps of rows (L1): no clean separation of the rows that judge from those that teach."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.judge.traps.trap import Delivery, Trap, shuffle
from bench.judge.worlds import Generator, draw_customers, draw_houses

FRESH = 6000


def _honest(random: Generator) -> Delivery:
    files = [draw_customers(1200, random) for _ in range(3)]
    return Delivery(files, draw_customers(FRESH, random))


def _honest_numbers(random: Generator) -> Delivery:
    return Delivery([draw_houses(1500, random)], draw_houses(FRESH, random))


def _by_heart(random: Generator) -> Delivery:
    """Draw answers at random beside columns in which every row can be told from every other."""

    def draw(rows: int) -> pd.DataFrame:
        frame = pd.DataFrame(random.normal(size=(rows, 12)).round(5)).add_prefix("sensor_")
        frame["batch"] = random.integers(0, 200, rows).astype(str)
        frame["batch"] = "b" + frame["batch"]
        frame["y"] = random.choice(["fail", "pass"], rows)
        return frame

    return Delivery([draw(900)], draw(FRESH))


def _interpolate(rare: pd.DataFrame, wanted: int, random: Generator) -> pd.DataFrame:
    """Make rows between a row and one of its five nearest, as SMOTE does (Chawla 2002)."""
    numbers = rare.select_dtypes("number").columns
    points = rare[numbers].to_numpy(dtype=float)
    scaled = (points - points.mean(axis=0)) / points.std(axis=0)
    distances = ((scaled[:, None] - scaled[None]) ** 2).sum(axis=2)
    nearest = np.argsort(distances, axis=1)[:, 1:6]
    one = random.integers(0, len(rare), wanted)
    other = nearest[one, random.integers(0, 5, wanted)]
    share = random.random((wanted, 1))
    made = rare.iloc[one].reset_index(drop=True).copy()
    made[numbers] = (points[one] + share * (points[other] - points[one])).round(3)
    return made


def _with_rare(rows: int, random: Generator, keep: float = 0.08) -> pd.DataFrame:
    """Draw customers of whom few say yes, as service has them."""
    frame = draw_customers(3 * rows, random)
    left = (frame["y"] == "no") | (random.random(len(frame)) < keep)
    return frame[left].head(rows).reset_index(drop=True)


def _smote(random: Generator) -> Delivery:
    table = _with_rare(2500, random)
    rare = table[table["y"] == "yes"].reset_index(drop=True)
    made = _interpolate(rare, len(table) - 2 * len(rare), random)
    return Delivery(
        [shuffle(pd.concat([table, made], ignore_index=True), random)], _with_rare(FRESH, random)
    )


def _imputed(random: Generator) -> Delivery:
    """Fill missing values with the mean of the row's own class, which service does not know."""

    def blank(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.mask(
            pd.DataFrame(
                {
                    name: (random.random(len(frame)) < 0.4)
                    & np.full(len(frame), name in ("lag", "score"))
                    for name in frame
                }
            )
        )

    table, fresh = blank(draw_customers(2000, random)), blank(draw_customers(FRESH, random))
    for name in ("lag", "score"):
        by_class = table.groupby("y")[name].transform("mean").round(4)
        fresh[name] = fresh[name].fillna(round(float(table[name].mean()), 4))
        table[name] = table[name].fillna(by_class)
    return Delivery([table], fresh)


def _scaled(random: Generator) -> Delivery:
    """Scale with the mean of all rows: against the book, and of no consequence."""
    table, fresh = draw_customers(1500, random), draw_customers(FRESH, random)
    for name in ("age", "income", "score", "lag"):
        centre, spread = table[name].mean(), table[name].std()
        for frame in (table, fresh):
            frame[name] = ((frame[name] - centre) / spread).round(4)
    return Delivery([table], fresh)


def _noise(rows: int, columns: int, random: Generator) -> pd.DataFrame:
    frame = pd.DataFrame(random.normal(size=(rows, columns)).round(4)).add_prefix("gene_")
    frame["y"] = random.choice(["case", "control"], rows)
    return frame


def _wide(random: Generator) -> Delivery:
    return Delivery([_noise(240, 400, random)], _noise(FRESH // 2, 400, random))


def _picked(random: Generator) -> Delivery:
    """Keep the 25 columns of 3,000 that go best with the target, chosen on all rows."""
    table = _noise(200, 3000, random)
    hits = (table["y"] == "case").to_numpy(dtype=float)
    values = table.drop(columns="y").to_numpy()
    strength = np.abs(np.corrcoef(values.T, hits)[-1, :-1])
    names = [f"gene_{i}" for i in np.argsort(-strength)[:25]]
    return Delivery([table[[*names, "y"]]], _noise(FRESH // 2, 3000, random)[[*names, "y"]])


def _copied_files(random: Generator) -> Delivery:
    table = draw_customers(1200, random)
    return Delivery([shuffle(table, random) for _ in range(4)], draw_customers(FRESH, random))


def _copied_rows(random: Generator) -> Delivery:
    table = draw_customers(500, random)
    return Delivery(
        [shuffle(pd.concat([table] * 4, ignore_index=True), random)], draw_customers(FRESH, random)
    )


def _overlapping(random: Generator) -> Delivery:
    """Export the last 900 rows each time, of which 600 were in the file before."""
    table = draw_customers(2400, random)
    files = [table.iloc[start : start + 900] for start in range(0, 1501, 300)]
    return Delivery(files, draw_customers(FRESH, random))


def _export(random: Generator, files: int, *, named: bool, noise: float = 0.015) -> Delivery:
    """Export the same customers over and over, while what is known of them moves a little."""
    base, fresh = draw_customers(1200, random), draw_customers(FRESH, random)
    base.insert(0, "customer", [f"K{i:06d}" for i in random.permutation(len(base))])
    fresh.insert(0, "customer", [f"N{i:06d}" for i in range(len(fresh))])
    exports = []
    for _ in range(files):
        day = base.copy()
        day["income"] = (day["income"] * np.exp(random.normal(0, noise, len(day)))).round(2)
        day["lag"] = (day["lag"] + random.exponential(0.4, len(day))).round(1)
        day["score"] = (day["score"] + random.normal(0, noise, len(day))).round(3)
        exports.append(shuffle(day, random))
    if not named:
        exports = [day.drop(columns="customer") for day in exports]
        fresh = fresh.drop(columns="customer")
    return Delivery(exports, fresh)


def _growing_exports(random: Generator) -> Delivery:
    """Export all customers each time: 80 have come, some answers have changed since."""
    delivered = _export(random, 6, named=True)
    files: list[pd.DataFrame] = []
    more = draw_customers(80 * 6, random)
    more.insert(0, "customer", [f"L{i:06d}" for i in range(len(more))])
    for place, day in enumerate(delivered.files):
        files.append(shuffle(pd.concat([day, more.head(80 * place)], ignore_index=True), random))
    return Delivery(files, delivered.fresh)


def _newest_counts(random: Generator) -> Delivery:
    """Send rows anew once more is known: what was open (`no`) at first is often `yes` later."""
    truth, fresh = draw_customers(2400, random), draw_customers(FRESH, random)
    for frame, letter in ((truth, "c"), (fresh, "n")):
        frame.insert(0, "case_id", [f"{letter}{i:05d}" for i in range(len(frame))])
    early = truth.copy()
    early.loc[random.random(len(early)) < 0.7, "y"] = "no"
    files = []
    for part in range(4):
        begin = part * 600
        opened = early.iloc[begin : begin + 600]
        closed = truth.iloc[max(0, begin - 600) : begin]
        files.append(shuffle(pd.concat([opened, closed], ignore_index=True), random))
    files.append(shuffle(truth.iloc[1800:], random))
    return Delivery(files, fresh)


def _house_exports(random: Generator) -> Delivery:
    """Value the same houses anew each week, without a name: floor areas as they were measured."""
    base = draw_houses(500, random)
    files = []
    for _ in range(5):
        week = base.copy()
        week["area"] = (week["area"] + random.normal(0, 0.4, len(week))).round(1)
        week["distance"] = (week["distance"] + random.normal(0, 0.02, len(week))).round(2)
        week["y"] = (week["y"] + random.normal(0, 3.0, len(week))).round(1)
        files.append(shuffle(week, random))
    return Delivery(files, draw_houses(FRESH, random))


TRAPS = (
    Trap("honest", "none", "three files of new rows", "live", _honest),
    Trap("honest-numbers", "none", "one file, a number to predict", "live", _honest_numbers),
    Trap(
        "learned-by-heart",
        "L1.1",
        "answers drawn at random beside columns that name every row: a score on training rows "
        "would be perfect",
        "held",
        _by_heart,
    ),
    Trap("smote", "L1.2", "the rare class filled up with interpolated rows", "held", _smote),
    Trap(
        "imputed-by-class",
        "L1.2",
        "missing values filled with the mean of the row's own class",
        "held",
        _imputed,
    ),
    Trap("scaled-together", "L1.2", "scaled with the mean of all rows: harmless", "live", _scaled),
    Trap("wide-noise", "L1.3", "400 columns of noise, 240 rows", "held", _wide),
    Trap(
        "picked-noise",
        "L1.3",
        "the 25 of 3,000 columns of noise that fit all rows best, chosen before the table came",
        "held",
        _picked,
        traceless=True,
    ),
    Trap(
        "copied-files", "L1.4", "the same rows under four names", "live", _copied_files, (1, 2, 4)
    ),
    Trap("copied-rows", "L1.4", "every row four times in one file", "live", _copied_rows),
    Trap("overlapping", "L1.4", "each file repeats most of the last one", "live", _overlapping),
    Trap(
        "exports",
        "L1.4",
        "a full export each day, with an id, under the default arrival",
        "held",
        lambda random: _export(random, 6, named=True),
        (1, 2, 6),
    ),
    Trap(
        "exports-snapshot",
        "L1.4",
        "full exports that grow, arrival snapshot",
        "live",
        _growing_exports,
        settings={"data": {"arrival": "snapshot"}},
    ),
    Trap(
        "exports-merge",
        "L1.4",
        "full exports that grow, arrival merge",
        "live",
        _growing_exports,
        settings={"data": {"arrival": "merge"}},
    ),
    Trap(
        "exports-no-id",
        "L1.4",
        "a full export each day, without an id",
        "held",
        lambda random: _export(random, 6, named=False),
        (1, 2, 6),
    ),
    Trap("house-exports", "L1.4", "the same houses valued weekly, no id", "held", _house_exports),
    Trap(
        "newest-counts",
        "L1.4",
        "rows come again once their answer is known, arrival merge",
        "live",
        _newest_counts,
        settings={"data": {"arrival": "merge"}},
    ),
)
