"""Charts: valid SVG for any numbers, the same text for the same numbers, nothing unescaped."""

import math
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import charts
from core.charts import Bar, Series

NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=64)
NASTY = "<b>&\"' Größe"


def parse(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "nan" not in svg.replace("sans", "")
    assert "inf" not in svg
    return root


@given(st.lists(NUMBERS.filter(lambda x: not math.isfinite(x) or abs(x) < 1e100), max_size=8))
def test_any_numbers_give_a_drawing(values: list[float]) -> None:
    """Nothing, one value, equal values, huge ones, NaN and infinity: a well-formed picture."""
    xs = [float(i) for i in range(len(values))]
    parse(charts.draw_bars([Bar(NASTY, v, v, v) for v in values], title=NASTY))
    parse(charts.draw_lines([Series(NASTY, xs, values)], title="t", x_label="x", y_label="y"))
    parse(charts.draw_scatter([Series("", values, values)], title="t", x_label="x", y_label="y"))


def test_text_is_escaped() -> None:
    """Names from the data cannot break out of the picture."""
    svg = charts.draw_heat([NASTY, "b"], ["a", NASTY], [[1, 2], [3, 4]], title=NASTY)
    parse(svg)
    assert "<b>" not in svg


def test_same_numbers_same_text() -> None:
    """A report of the same model is the same file."""
    series = [Series("a", [0, 0.1, 1 / 3], [1, 2, 3.7])]
    first = charts.draw_lines(series, title="t", x_label="x", y_label="y", diagonal=True)
    assert first == charts.draw_lines(series, title="t", x_label="x", y_label="y", diagonal=True)


def test_histograms_show_shares() -> None:
    """Two histograms of different sizes are comparable: the higher bar is the larger share."""
    svg = charts.draw_histograms(
        [0, 1, 2], [("a", [10, 0]), ("b", [50, 50])], title="t", x_label="x"
    )
    bars = [e for e in parse(svg) if e.tag.endswith("rect") and e.get("stroke")]
    heights = [float(str(bar.get("height"))) for bar in bars]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.02)


def test_bars_start_at_zero() -> None:
    """Negative and positive values share one baseline."""
    svg = charts.draw_bars([Bar("up", 2.0), Bar("down", -1.0)], title="t")
    up, down = [e for e in parse(svg) if e.tag.endswith("rect")]
    left, right = float(str(up.get("x"))), float(str(down.get("x"))) + float(str(down.get("width")))
    assert left == pytest.approx(right, abs=0.1)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 17), (1e-9, 2e-9), (1e6, 9e6)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    """About five ticks, evenly spaced, between the limits."""
    ticks = charts.find_ticks(low, high)
    assert 3 <= len(ticks) <= 8
    assert low - 1e-12 <= min(ticks) <= max(ticks) <= high * (1 + 1e-9)


def test_empty_charts_say_so() -> None:
    """No data is a note, not an error."""
    assert "nothing to draw" in charts.draw_bars([], title="t")
    assert "nothing to draw" in charts.draw_histograms([], [], title="t", x_label="x")
    assert "nothing to draw" in charts.draw_heat([], [], [], title="t")


def test_labels_of_the_horizontal_axis_stay_inside_and_may_be_left_out() -> None:
    """A long one at the end is set to the edge; a format that gives nothing draws nothing."""
    svg = charts.draw_lines(
        [Series("", [0, 1], [1, 2])],
        title="t",
        x_label="",
        y_label="",
        x_range=(0.0, 1.0),
        x_format=lambda place: "11-21 08:00" if place.is_integer() else "",
    )
    labels = [t for t in parse(svg).iter() if t.text == "11-21 08:00"]
    assert [label.get("text-anchor") for label in labels] == ["middle", "end"]
    assert float(labels[1].get("x", "nan")) <= charts.WIDTH
