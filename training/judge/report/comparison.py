"""What the model was compared with: the champion, and knowing nothing."""

from collections.abc import Mapping
from html import escape
from typing import Any

from training.judge.comparison import MAX_ROWS
from training.judge.decision import MIN_ROWS, limit_in_errors
from training.judge.report.html import (
    format_figure,
    format_interval,
    format_value,
    make_table,
    name_metric,
)


def show_champion(evaluation: Mapping[str, Any], trigger: str) -> str:
    """Show how the model did against the champion, or why there was no comparison."""
    return f"<h2>Against the champion</h2>{_show_champion(evaluation, trigger)}"


def _show_champion(evaluation: Mapping[str, Any], trigger: str) -> str:
    champion = evaluation["champion"]
    if champion is None:
        return "<p>There was no champion to compare with: no model was live when the run began.</p>"
    name = f"<code>{escape(str(champion['run']))}</code>"
    if champion["mismatch"]:
        return (
            f"<p>It was <b>not compared</b> with the live model, of run {name}: "
            f"{escape(str(champion['mismatch']))}. Whether it answers better than that one, this "
            "report does not know.</p>"
        )
    everything, held, fresh = champion["everything"], champion["held"], champion["fresh"]
    if everything is None:
        reason = escape(str(evaluation["decision"]["reason"]))
        return f"<p>It was <b>not compared</b> with the live model, of run {name}: {reason}.</p>"
    rows = [_row("rows that neither was trained on", everything, limit_in_errors)]
    if held is not None:
        rows.append(_row("of these, in the holdout", held))
    if fresh is not None:
        rows.append(_row("of these, labelled since it went live", fresh))
    head = [*_HEAD]
    head[2] = "#champion"
    return (
        f"<p>The live model is of run {name}; both answered the same rows, compared by "
        f"{escape(name_metric(evaluation['metric']))}. {_say_rows(everything, held)}</p>"
        + make_table(head, rows)
        + f"<p>{_say_rule(champion, trigger)}</p>"
    )


_HEAD = (
    "compared on",
    "#rows",
    "#the other",
    "#this model",
    "#advantage",
    "#95% interval",
    "#standard error",
    "#in standard errors",
    "#needed",
    "#resamples ahead",
)


def show_nothing(evaluation: Mapping[str, Any]) -> str:
    """Show how the model did against a model that knows no column."""
    found = evaluation["nothing"]
    if found is None:
        return ""
    knows = (
        "the middle of the target"
        if evaluation["task"] == "regression"
        else "how frequent each class is"
    )
    head = [*_HEAD]
    head[2] = "#knowing nothing"
    del head[8]
    row = _row("held-out rows", found)
    del row[8]
    return (
        f"<h2>Against knowing nothing</h2><p>Knowing nothing is to give every row the same answer: "
        f"{knows} among the training rows. A model must be ahead of that on the held-out rows in "
        "at least 95% of resamples, and by more than noise on all rows.</p>"
        + make_table(head, [row])
    )


def _row(label: str, found: Mapping[str, Any], limit: Any = None) -> list[str]:
    """Write one comparison; `limit` gives the standard errors that are needed for so many units."""
    advantage, error = found["advantage"], found["error"]
    value = advantage.get("value")
    in_errors = "" if not error or value is None else f"{value / error:.1f}"
    return [
        label,
        f"{found['rows']:,}",
        format_value(found["champion"]),
        format_value(found["challenger"]),
        format_value(advantage),
        format_interval(advantage, 4),
        "" if error is None else format_figure(error, 4),
        in_errors,
        "" if limit is None else f"{limit(found['units']):.1f}",
        f"{found['favourable']:.1%}",
    ]


def _say_rows(everything: Mapping[str, Any], held: Mapping[str, Any] | None) -> str:
    """Say which rows the comparison rests on."""
    if everything["rows"] >= MAX_ROWS:
        return (
            f"Of the rows that neither was trained on, {MAX_ROWS:,} were drawn: rows of the "
            "holdout, which no model is trained on, and rows that came after the champion was "
            f"trained. {_FOLDS}"
        )
    in_holdout = 0 if held is None else int(held["rows"])
    after = int(everything["rows"]) - in_holdout
    text = (
        f"Of the {everything['rows']:,} rows, {in_holdout:,} are of the holdout, which no model is "
        f"trained on, and {after:,} others came after the champion was trained."
    )
    return f"{text} {_FOLDS}" if after else text


_FOLDS = (
    "Outside the holdout this model's answers are those of cross-validation: each is by a model "
    "that was trained without the row."
)


def _say_rule(champion: Mapping[str, Any], trigger: str) -> str:
    fresh = champion["fresh"]
    if trigger == "drift" and fresh is not None and fresh["rows"] >= MIN_ROWS:
        return (
            "The run followed an alarm, so the rows labelled since the champion went live decide: "
            "the model takes over unless it is worse on them."
        )
    return (
        "The advantage on all rows must be more standard errors than needed, and on the held-out "
        "rows above 0. The limit holds for every look: as long as this champion is live, chance "
        f"alone promotes a model with a probability of at most {champion['lucky_rate']:.0%}, "
        "however often it is challenged."
    )
