"""Traps of sampling (L3): rows that are not drawn as service will draw them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.judge.traps.trap import Delivery, Trap, shuffle
from bench.judge.worlds import Generator, draw_customers, draw_houses

FRESH = 6000


def _walk(rows: int, random: Generator, *, keep: float = 0.97) -> np.ndarray:
    """Draw a series that wanders about 0 with a spread of about 1."""
    steps = random.normal(0, np.sqrt(1 - keep**2), rows)
    series = np.zeros(rows)
    for i in range(1, rows):
        series[i] = keep * series[i - 1] + steps[i]
    return series


def _moods(rows: int, random: Generator) -> pd.DataFrame:
    """Draw rows in the order of time: what moves the answer moves slowly, and so do the columns."""
    mood = _walk(rows, random)
    frame = pd.DataFrame(
        {f"rate_{i}": (_walk(rows, random) + 0.15 * mood).round(3) for i in range(8)}
    )
    frame["volume"] = random.integers(10, 500, rows)
    frame["y"] = np.where(random.random(rows) < 1 / (1 + np.exp(-3.0 * mood)), "up", "down")
    return frame


def _ordered(random: Generator) -> Delivery:
    frame = _moods(2000 + FRESH, random)
    return Delivery([frame.head(2000)], frame.tail(FRESH).reset_index(drop=True))


def _ordered_files(random: Generator) -> Delivery:
    """Send the first 150 rows alone, too few to see that they are in order."""
    frame = _moods(2400 + FRESH, random)
    files = [frame.head(150), *(frame.iloc[k : k + 450] for k in range(150, 2400, 450))]
    return Delivery(files, frame.tail(FRESH).reset_index(drop=True))


def _stamped(random: Generator) -> Delivery:
    """Shuffle rows that have a time, so that only the column says in which order they came."""
    frame = _moods(2000 + FRESH, random)
    stamps = pd.date_range("2024-01-01", periods=len(frame), freq="3h")
    frame.insert(0, "measured_at", stamps.strftime("%Y-%m-%dT%H:%M:%SZ"))
    return Delivery([shuffle(frame.head(2000), random)], frame.tail(FRESH).reset_index(drop=True))


def _centred_mean(random: Generator) -> Delivery:
    """Smooth a demand over the days around each day; service knows only those before."""
    rows = 1500 + FRESH
    noise = random.normal(0, 1.0, rows)
    demand = pd.Series(100 + 20 * _walk(rows, random, keep=0.9) + 8 * noise).round(1)
    frame = pd.DataFrame(
        {
            "weekday": np.arange(rows) % 7,
            "price": random.normal(10, 1, rows).round(2),
            "rain": random.exponential(2, rows).round(1),
            "demand_3d": demand.rolling(3, center=True, min_periods=1).mean().round(2),
            "y": demand,
        }
    )
    fresh = frame.tail(FRESH).copy()
    fresh["demand_3d"] = demand.shift(1).rolling(3).mean().round(2).tail(FRESH)
    return Delivery([frame.head(1500)], fresh.reset_index(drop=True))


def _visits(people: int, random: Generator, first: int = 0) -> pd.DataFrame:
    """Draw six visits of each person: the answer hangs on the person more than on the columns."""
    each = 6
    who = np.repeat(np.arange(people), each)
    trait = random.normal(0, 2.0, people)[who]
    frame = pd.DataFrame(
        {
            "id": who + first,
            "age": random.integers(20, 80, people)[who],
            "sex": random.choice(["f", "m"], people)[who],
            "height": random.normal(170, 9, people).round(1)[who],
            "visit": np.tile(np.arange(1, each + 1), people),
            "pulse": random.normal(70, 8, people * each).round(0),
            "dose": random.choice([0, 10, 20], people * each),
        }
    )
    signal = trait + 0.04 * (frame["pulse"] - 70) - 0.02 * frame["dose"] + 0.1
    frame["y"] = np.where(random.random(len(frame)) < 1 / (1 + np.exp(-signal)), "ill", "well")
    return frame


def _repeated(random: Generator) -> Delivery:
    """Keep the id of a person beside a row number, which alone looks like an id."""
    table, fresh = _visits(250, random, 1), _visits(1000, random, 10_001)
    for frame, begin in ((table, 1), (fresh, 100_001)):
        frame.insert(0, "row", np.arange(begin, begin + len(frame)))
    return Delivery([table], fresh)


def _repeated_nameless(random: Generator) -> Delivery:
    table, fresh = _visits(250, random), _visits(1000, random)
    return Delivery([shuffle(table.drop(columns="id"), random)], fresh.drop(columns="id"))


def _machines(random: Generator) -> Delivery:
    """Measure 40 machines often; service has machines that nobody has measured."""

    def draw(machines: int, each: int, first: int) -> pd.DataFrame:
        who = np.repeat(np.arange(machines), each)
        offset = random.normal(0, 1.0, (machines, 5))
        wear = random.normal(0, 12.0, machines)
        values = offset[who] + random.normal(0, 0.15, (len(who), 5))
        frame = pd.DataFrame(values.round(3)).add_prefix("channel_")
        frame.insert(0, "machine", [f"M{first + i:04d}" for i in who])
        frame["load"] = random.uniform(0, 1, len(who)).round(2)
        frame["y"] = (50 + wear[who] + 6 * frame["load"] + random.normal(0, 2, len(who))).round(2)
        return shuffle(frame, random)

    return Delivery([draw(40, 40, 0)], draw(300, 10, 1000))


def _households(random: Generator) -> Delivery:
    """Draw two to five members of a household, whose number is a plain integer among others."""

    def draw(homes: int, first: int) -> pd.DataFrame:
        sizes = random.integers(2, 6, homes)
        who = np.repeat(np.arange(homes), sizes)
        members = len(who)
        lean = random.normal(0, 1.8, homes)[who]
        frame = pd.DataFrame(
            {
                "hhnr": who + first,
                "rooms": random.integers(1, 9, homes)[who],
                "street": random.choice([f"street {i}" for i in range(60)], homes)[who],
                "income": random.lognormal(10, 0.5, homes).round(0)[who],
                "age": random.integers(0, 95, members),
                "employed": random.choice(["y", "n"], members),
            }
        )
        odds = 1 / (1 + np.exp(-(lean + 0.01 * (frame["age"] - 45))))
        frame["y"] = np.where(random.random(members) < odds, "vote", "abstain")
        return shuffle(frame, random)

    return Delivery([draw(450, 1)], draw(1800, 50_000))


def _rare(rows: int, random: Generator, keep: float = 0.06) -> pd.DataFrame:
    frame = draw_customers(3 * rows, random)
    kept = (frame["y"] == "no") | (random.random(len(frame)) < keep)
    return frame[kept].head(rows).reset_index(drop=True)


def _drawn_again(random: Generator) -> Delivery:
    table = _rare(1800, random)
    rare = table[table["y"] == "yes"]
    again = rare.iloc[random.integers(0, len(rare), len(table) - 2 * len(rare))]
    return Delivery(
        [shuffle(pd.concat([table, again], ignore_index=True), random)], _rare(FRESH, random)
    )


def _thinned(random: Generator) -> Delivery:
    """Leave out most rows of the frequent class, as is often done, and never say so."""
    table = _rare(12_000, random)
    rare, rest = table[table["y"] == "yes"], table[table["y"] == "no"]
    even = pd.concat([rare, rest.head(len(rare))], ignore_index=True)
    return Delivery([shuffle(even, random)], _rare(FRESH, random))


def _by_maker(random: Generator) -> Delivery:
    """Take yes from one site and no from another, whose instruments differ."""
    table, fresh = draw_customers(1800, random), draw_customers(FRESH, random)
    yes = table["y"] == "yes"
    ours, theirs = table[yes].copy(), table[~yes].copy()
    for frame in (ours, theirs, fresh):
        frame["level"] = random.normal(5.0, 1.0, len(frame)).round(2)
    theirs["level"] = (theirs["level"] + 2.2).round(2)
    theirs["score"] = (theirs["score"] * 1.6).round(3)
    # Both files begin with rows of the other class, so that `init` sees two classes.
    few = ours.head(25), theirs.head(25)
    return Delivery(
        [
            pd.concat([ours.iloc[25:], few[1]], ignore_index=True),
            pd.concat([theirs.iloc[25:], few[0]], ignore_index=True),
        ],
        fresh,
    )


def _by_site(random: Generator) -> Delivery:
    """Draw cases from one clinic and controls from the street; service sees one clinic."""
    table, fresh = draw_customers(1800, random), draw_customers(FRESH, random)
    yes = (table["y"] == "yes").to_numpy()
    clinic = np.where(random.random(len(table)) < 0.985, yes, ~yes)
    table["site"] = np.where(clinic, "clinic", "street")
    fresh["site"] = "clinic"
    return Delivery([table], fresh)


def _middle_left_out(random: Generator) -> Delivery:
    """Keep the clear cases alone: rows about which two judges agreed."""
    table, fresh = draw_houses(5000, random), draw_houses(FRESH, random)
    for frame in (table, fresh):
        frame["value"] = frame["y"]
        frame["y"] = np.where(frame["value"] > frame["value"].median(), "dear", "cheap")
    low, high = table["value"].quantile([0.2, 0.8])
    clear = table[(table["value"] < low) | (table["value"] > high)]
    return Delivery(
        [clear.drop(columns="value").reset_index(drop=True)], fresh.drop(columns="value")
    )


TRAPS = (
    Trap("ordered", "L3.1", "rows in the order of time, no column says so", "either", _ordered),
    Trap(
        "ordered-files",
        "L3.1",
        "the same in files, of which the first is too small to show it",
        "either",
        _ordered_files,
    ),
    Trap("stamped", "L3.1", "rows with a time, shuffled", "either", _stamped),
    Trap(
        "centred-mean",
        "L3.1",
        "a mean over yesterday, today and tomorrow of the target itself",
        "held",
        _centred_mean,
    ),
    Trap(
        "repeated",
        "L3.2",
        "six visits a person, a plain id beside a row number",
        "either",
        _repeated,
    ),
    Trap("repeated-nameless", "L3.2", "the same without the id", "held", _repeated_nameless),
    Trap("machines", "L3.2", "forty machines, service has others", "either", _machines),
    Trap(
        "households", "L3.2", "members of households, a number of the home", "either", _households
    ),
    Trap("drawn-again", "L3.3", "the rare class drawn again to half", "held", _drawn_again),
    Trap(
        "thinned",
        "L3.3",
        "the frequent class thinned to half, nothing else changed",
        "held",
        _thinned,
        traceless=True,
    ),
    Trap("by-maker", "L3.3", "each class from another file and instrument", "held", _by_maker),
    Trap("by-site", "L3.3", "each class from another site, in one file", "held", _by_site),
    Trap(
        "clear-cases",
        "L3.3",
        "only rows about which there was no doubt",
        "held",
        _middle_left_out,
        traceless=True,
    ),
)
