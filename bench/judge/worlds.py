"""Worlds to draw rows from: what service will see, without a trap."""

from __future__ import annotations

import numpy as np
import pandas as pd

Generator = np.random.Generator


def draw_customers(rows: int, random: Generator) -> pd.DataFrame:
    """Draw rows of a binary world: half of what decides `y` is in the columns, the rest is luck."""
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, rows),
            "income": np.round(random.lognormal(10.3, 0.6, rows), 2),
            "visits": random.poisson(4.0, rows),
            "segment": random.choice(
                ["shop", "web", "phone", "mail"], rows, p=[0.4, 0.3, 0.2, 0.1]
            ),
            "score": np.round(random.normal(size=rows), 3),
            "lag": np.round(random.exponential(30.0, rows), 1),
        }
    )
    frame["y"] = np.where(random.random(rows) < customer_odds(frame), "yes", "no")
    return frame


def customer_odds(frame: pd.DataFrame) -> np.ndarray:
    """Give the true probability of `y` = yes."""
    signal = (
        0.9 * frame["score"]
        + 0.5 * (np.log(frame["income"]) - 10.3) / 0.6
        - 0.8 * (frame["segment"] == "phone")
        + 0.25 * (frame["visits"] - 4.0) / 2.0
        - 0.3
    )
    odds: np.ndarray = 1.0 / (1.0 + np.exp(-signal.to_numpy(dtype=float)))
    return odds


def draw_houses(rows: int, random: Generator) -> pd.DataFrame:
    """Draw rows of a regression world."""
    frame = pd.DataFrame(
        {
            "area": np.round(random.normal(110, 30, rows).clip(30), 1),
            "rooms": random.integers(1, 8, rows),
            "built": random.integers(1900, 2024, rows),
            "district": random.choice([f"d{i}" for i in range(12)], rows),
            "distance": np.round(random.exponential(5.0, rows), 2),
            "floor": random.integers(0, 9, rows),
        }
    )
    frame["y"] = np.round(
        2.2 * frame["area"]
        + 9.0 * frame["rooms"]
        + 0.4 * (frame["built"] - 1960)
        - 6.0 * frame["distance"]
        + random.normal(0, 40, rows),
        1,
    )
    return frame


def draw_plants(rows: int, random: Generator) -> pd.DataFrame:
    """Draw rows of a world of three classes that overlap."""
    kinds = random.integers(0, 3, rows)
    centres = np.array([[0.0, 0.0, 0.0], [1.3, 0.4, 0.0], [0.4, 1.3, 0.6]])
    values = centres[kinds] + random.normal(size=(rows, 3))
    frame = pd.DataFrame(np.round(values, 2), columns=["length", "width", "mass"])
    frame["soil"] = random.choice(["clay", "sand", "loam"], rows)
    frame["height"] = np.round(random.normal(20, 4, rows), 1)
    frame["y"] = np.array(["alba", "nigra", "rubra"])[kinds]
    return frame
