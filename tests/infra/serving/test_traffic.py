"""The alarm that compares two versions' answers while traffic moves, evaluated as deployed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from local.services.cloudwatch.expressions import Windows, evaluate_expression
from tests.infra.synthesis import Templates, resources, settings_of, synthesise

pytestmark = pytest.mark.xdist_group("infra")
Draw = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]
SHAPES: dict[str, Draw] = {
    "uniform": lambda draw, size: draw.random(size),
    "u-shaped": lambda draw, size: draw.beta(0.3, 0.3, size),
    "skewed": lambda draw, size: draw.beta(0.3, 3, size),
    "rare events": lambda draw, size: (draw.random(size) < 0.02) + 0.01 * draw.random(size),
    "normal": lambda draw, size: draw.normal(1000, 1, size),
    "lognormal": lambda draw, size: draw.lognormal(0, 1, size),
}


@pytest.fixture(scope="module")
def alarm(templates: Templates) -> dict[str, Any]:
    (found,) = [
        resource["Properties"]
        for resource in resources(templates, "AWS::CloudWatch::Alarm").values()
        if "release-predictions" in str(resource["Properties"]["AlarmName"])
    ]
    properties: dict[str, Any] = found
    return properties


def minutes(alarm: dict[str, Any], new: list[Any], old: list[Any]) -> dict[int, float]:
    """Evaluate the deployed expression over minutes of the two versions' request scores."""
    sums = {"ScoredRequests": len, "ScoreSum": np.sum, "ScoreSquares": lambda x: np.sum(x * x)}
    series, expression = {}, ""
    for query in alarm["Metrics"]:
        if "Expression" in query:
            expression = query["Expression"]
            continue
        metric = query["MetricStat"]["Metric"]
        only_new = "Version" in {d["Name"] for d in metric["Dimensions"]}
        total = sums[metric["MetricName"]]
        series[query["Id"]] = {
            age: float(total(a) + (0 if only_new else total(b)))
            for age, (a, b) in enumerate(zip(new, old, strict=True))
        }
    return evaluate_expression(expression, series, Windows(len(new), 60))


@pytest.mark.parametrize("shape", SHAPES)
def test_versions_that_answer_alike_are_not_told_apart(alarm: dict[str, Any], shape: str) -> None:
    """Promised: a rollback without a cause in fewer than 1 of 1,000 releases of 30 minutes.

    That allows 1 in 30,000 minutes; of 2,000 minutes at 10% of the traffic, none.
    """
    draw = np.random.default_rng(7)
    new = [SHAPES[shape](draw, 50) for _ in range(2_000)]
    old = [SHAPES[shape](draw, 450) for _ in range(2_000)]
    assert sum(minutes(alarm, new, old).values()) == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shift_of_one_standard_deviation_is_seen_within_minutes(
    alarm: dict[str, Any], shape: str
) -> None:
    draw = np.random.default_rng(8)
    old = [SHAPES[shape](draw, 1_800) for _ in range(5)]
    new = [SHAPES[shape](draw, 200) + np.std(old[0]) for _ in range(5)]
    assert sum(minutes(alarm, new, old).values()) >= 1


def test_a_significant_but_small_difference_is_no_reason(alarm: dict[str, Any]) -> None:
    """A better model answers a little otherwise: half a standard deviation is let through."""
    draw = np.random.default_rng(9)
    old = [draw.normal(size=20_000) for _ in range(20)]
    new = [draw.normal(0.4, size=20_000) for _ in range(20)]
    assert sum(minutes(alarm, new, old).values()) == 0


def test_few_requests_or_only_one_version_say_nothing(alarm: dict[str, Any]) -> None:
    few = [np.full(49, 5.0) + np.arange(49) / 1000]
    assert minutes(alarm, few, [np.zeros(1_000)]) == {0: 0.0}
    assert minutes(alarm, [np.ones(1_000)], [np.zeros(0)]) == {}


def test_it_can_be_switched_off() -> None:
    off = synthesise(settings_of({"serving": {"release_shift": 0}}))
    names = [str(r["Properties"]) for r in resources(off, "AWS::CloudWatch::Alarm").values()]
    assert not any("release-predictions" in name for name in names)
