"""Traps of columns (L2): values that exist only because the target is known already."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from bench.judge.traps.trap import Delivery, Trap
from bench.judge.worlds import Generator, draw_customers, draw_houses, draw_plants

FRESH = 6000
ROWS = 1800


def _leak(
    change: Callable[[pd.DataFrame, np.ndarray, Generator], None],
    before: Callable[[pd.DataFrame, Generator], None],
) -> Callable[[Generator], Delivery]:
    """Give training rows what `change` makes of the answer, fresh rows what is known `before`."""

    def make(random: Generator) -> Delivery:
        table, fresh = draw_customers(ROWS, random), draw_customers(FRESH, random)
        change(table, (table["y"] == "yes").to_numpy(), random)
        before(fresh, random)
        return Delivery([table], fresh)

    return make


def _set_closed(frame: pd.DataFrame, yes: np.ndarray, random: Generator) -> None:
    days = pd.Series(random.integers(1, 29, len(frame))).map("2025-06-{:02d}".format)
    frame["left_on"] = days.where(yes & (random.random(len(frame)) < 0.95))


def _set_survey(frame: pd.DataFrame, yes: np.ndarray, random: Generator) -> None:
    """Ask four in ten of those who said yes, and nobody else, how content they are."""
    asked = yes & (random.random(len(frame)) < 0.4)
    frame["content"] = pd.Series(random.integers(1, 6, len(frame)).astype(float)).where(asked)


def _set_contacts(frame: pd.DataFrame, yes: np.ndarray, random: Generator) -> None:
    frame["contacts"] = np.where(yes, 1 + random.poisson(2, len(frame)), 0)
    wrong = random.random(len(frame)) < 0.01
    frame.loc[wrong, "contacts"] = random.integers(0, 3, int(wrong.sum()))


def _set_refund(frame: pd.DataFrame, yes: np.ndarray, random: Generator) -> None:
    """Pay a part of those who said yes a sum back; everybody else has 0."""
    paid = yes & (random.random(len(frame)) < 0.6)
    frame["refund"] = np.where(paid, random.lognormal(3, 1, len(frame)).round(2), 0.0)


def _set_code(frame: pd.DataFrame, yes: np.ndarray, random: Generator) -> None:
    """Write the answer down a second time, as the code of a status with a few slips."""
    slips = random.random(len(frame)) < 0.01
    frame["status"] = np.where(yes ^ slips, "T42", "T17")


def _set_pair(frame: pd.DataFrame, yes: np.ndarray, random: Generator) -> None:
    """Set two flags that say nothing each, and everything together."""
    first = random.random(len(frame)) < 0.5
    frame["flag_a"] = first.astype(int)
    frame["flag_b"] = (first ^ yes).astype(int)


def _set_margin(frame: pd.DataFrame, yes: np.ndarray, random: Generator) -> None:
    """Keep two dates as day numbers; who said yes ends after the due day, all others before."""
    due = random.integers(100, 400, len(frame))
    frame["due_day"] = due
    late = random.integers(1, 40, len(frame))
    frame["end_day"] = np.where(yes, due + late, due - late)


def _set_serial(frame: pd.DataFrame, yes: np.ndarray, random: Generator) -> None:
    """Count those who said yes first, all others after them."""
    order = np.argsort(~yes, kind="stable")
    number = np.empty(len(frame), dtype=int)
    number[order] = np.arange(len(frame)) + 50_000
    frame["sheet_row"] = number


def _set_risk(frame: pd.DataFrame, yes: np.ndarray, random: Generator) -> None:
    """Add what another model says that was trained on these very answers."""
    frame["risk"] = (0.8 * yes + random.normal(0.1, 0.12, len(frame))).clip(0, 1).round(3)


def _blank(*names: str) -> Callable[[pd.DataFrame, Generator], None]:
    def before(frame: pd.DataFrame, random: Generator) -> None:
        for name in names:
            frame[name] = np.nan

    return before


def _zero(name: str, value: object = 0) -> Callable[[pd.DataFrame, Generator], None]:
    def before(frame: pd.DataFrame, random: Generator) -> None:
        frame[name] = value

    return before


def _flags(frame: pd.DataFrame, random: Generator) -> None:
    for name in ("flag_a", "flag_b"):
        frame[name] = random.integers(0, 2, len(frame))


def _margins(frame: pd.DataFrame, random: Generator) -> None:
    frame["due_day"] = random.integers(100, 400, len(frame))
    frame["end_day"] = random.integers(100, 400, len(frame))


def _serials(frame: pd.DataFrame, random: Generator) -> None:
    frame["sheet_row"] = 50_000 + ROWS + np.arange(len(frame))


def _risks(frame: pd.DataFrame, random: Generator) -> None:
    frame["risk"] = random.normal(0.45, 0.15, len(frame)).clip(0, 1).round(3)


def _number_leak(
    change: Callable[[pd.DataFrame, Generator], None], *names: str
) -> Callable[[Generator], Delivery]:
    """Give a table of numbers columns that make up the target; service has their means."""

    def make(random: Generator) -> Delivery:
        table, fresh = draw_houses(ROWS, random), draw_houses(FRESH, random)
        table["y"] = (table["y"] - table["y"].min() + 20.0).round(1)
        fresh["y"] = (fresh["y"] - fresh["y"].min() + 20.0).round(1)
        change(table, random)
        for name in names:
            fresh[name] = round(float(table[name].mean()), 2)
        return Delivery([table], fresh)

    return make


def _split_sum(frame: pd.DataFrame, random: Generator) -> None:
    share = random.beta(4, 4, len(frame))
    frame["land_value"] = (share * frame["y"]).round(1)
    frame["building_value"] = (frame["y"] - frame["land_value"]).round(1)


def _split_difference(frame: pd.DataFrame, random: Generator) -> None:
    frame["gross"] = (frame["y"] * random.uniform(1.1, 1.6, len(frame))).round(1)
    frame["deducted"] = (frame["gross"] - frame["y"]).round(1)


def _split_product(frame: pd.DataFrame, random: Generator) -> None:
    frame["units"] = random.integers(1, 40, len(frame))
    frame["unit_price"] = (frame["y"] / frame["units"]).round(6)


def _other_unit(frame: pd.DataFrame, random: Generator) -> None:
    frame["value_eur"] = (frame["y"] * 0.92).round(0)


def _logarithm(frame: pd.DataFrame, random: Generator) -> None:
    frame["log_value"] = np.log(frame["y"]).round(3)


def _assessed(frame: pd.DataFrame, random: Generator) -> None:
    """Add an appraisal made after the sale, within two per cent of it."""
    frame["appraisal"] = (frame["y"] * random.normal(1, 0.02, len(frame))).round(1)


def _encode(kind: str) -> Callable[[Generator], Delivery]:
    """Replace a column of 300 shops by the mean of the target over all rows of the table."""

    def draw(rows: int, random: Generator) -> tuple[pd.DataFrame, np.ndarray]:
        frame = draw_customers(rows, random)
        return frame, random.integers(0, 300, rows)

    def make(random: Generator) -> Delivery:
        table, shops = draw(ROWS, random)
        fresh, theirs = draw(FRESH, random)
        yes = (table["y"] == "yes").to_numpy(dtype=float)
        sums, sizes = np.bincount(shops, yes, 300), np.bincount(shops, minlength=300)
        overall = yes.mean()
        shrink = 10.0 if kind == "smoothed" else 0.0
        known = (sums + shrink * overall) / np.maximum(sizes + shrink, 1)
        own = known[shops]
        if kind == "left-out":
            own = (sums[shops] - yes) / np.maximum(sizes[shops] - 1, 1)
        table["shop_rate"], fresh["shop_rate"] = own.round(5), known[theirs].round(5)
        if kind != "dropped":
            table["shop"] = [f"s{i}" for i in shops]
            fresh["shop"] = [f"s{i}" for i in theirs]
        return Delivery([table], fresh)

    return make


def _plants_code(random: Generator) -> Delivery:
    """Give three kinds of plant a drawer number that goes by the kind."""
    table, fresh = draw_plants(1200, random), draw_plants(FRESH, random)
    drawers = table["y"].map({"alba": 10, "nigra": 20, "rubra": 30})
    table["drawer"] = drawers + random.integers(0, 10, len(table))
    fresh["drawer"] = random.integers(10, 40, len(fresh))
    return Delivery([table], fresh)


TRAPS = (
    Trap(
        "presence",
        "L2",
        "a date that only those have who left",
        "held",
        _leak(_set_closed, _blank("left_on")),
    ),
    Trap(
        "presence-partial",
        "L2",
        "a survey that only some of those who left were asked",
        "held",
        _leak(_set_survey, _blank("content")),
    ),
    Trap(
        "after-the-fact",
        "L2",
        "a count that starts once the answer is known",
        "held",
        _leak(_set_contacts, _zero("contacts")),
    ),
    Trap(
        "refund",
        "L2",
        "a sum paid to six in ten of those who left, 0 for everybody else",
        "held",
        _leak(_set_refund, _zero("refund", 0.0)),
    ),
    Trap(
        "status-code",
        "L2",
        "the answer a second time, as a code",
        "held",
        _leak(_set_code, _zero("status", "T17")),
    ),
    Trap(
        "two-flags",
        "L2",
        "two flags that say nothing each and everything together",
        "held",
        _leak(_set_pair, _flags),
    ),
    Trap(
        "two-dates",
        "L2",
        "two day numbers whose order is the answer",
        "held",
        _leak(_set_margin, _margins),
    ),
    Trap("serial", "L2", "row numbers that go by class", "either", _leak(_set_serial, _serials)),
    Trap(
        "other-model",
        "L2",
        "the score of a model that was trained on these answers",
        "held",
        _leak(_set_risk, _risks),
    ),
    Trap("plants-drawer", "L2", "three classes, a drawer number by class", "held", _plants_code),
    Trap(
        "sum",
        "L2",
        "the target is the sum of two columns",
        "held",
        _number_leak(_split_sum, "land_value", "building_value"),
    ),
    Trap(
        "difference",
        "L2",
        "the target is the difference of two columns",
        "held",
        _number_leak(_split_difference, "gross", "deducted"),
    ),
    Trap(
        "product",
        "L2",
        "the target is the product of two columns",
        "held",
        _number_leak(_split_product, "units", "unit_price"),
    ),
    Trap(
        "other-unit",
        "L2",
        "the target in another currency, rounded",
        "held",
        _number_leak(_other_unit, "value_eur"),
    ),
    Trap(
        "logarithm", "L2", "the target's logarithm", "held", _number_leak(_logarithm, "log_value")
    ),
    Trap(
        "appraisal",
        "L2",
        "an appraisal made after the sale, within 2% of it",
        "held",
        _number_leak(_assessed, "appraisal"),
    ),
    Trap("encoded", "L2", "target means of shops over all rows", "held", _encode("plain")),
    Trap("encoded-dropped", "L2", "the same without the shop", "held", _encode("dropped")),
    Trap("encoded-left-out", "L2", "the same without the row itself", "held", _encode("left-out")),
    Trap("encoded-smoothed", "L2", "the same, shrunk to the mean", "held", _encode("smoothed")),
)
