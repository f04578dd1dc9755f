"""The monitor's pages: one a window, and an index; each file holds all that it shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np

from core import charts
from core.charts import Series
from core.drift import Baseline, ColumnBaseline, Finding, Summary, Verdict, show_number
from lambdas.monitor.claims import FELL, NEVER, UNCLEAR

SHOWN_COLUMNS = 12
SHOWN_WINDOWS = 60
LARGEST_SHOWN = 5.0

_STYLE = """
:root{color-scheme:light
dark;--ink:#1b2733;--soft:#5c6b7a;--line:#d7dee5;--back:#fff;--card:#f6f8fa;
--was:#9aa9b8;--now:#0b6bcb;--bad:#b3261e;--good:#1a7f4b}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa7b4;--line:#30363d;--back:#0d1117;
--card:#161b22;--was:#5b6875;--now:#4ea1ff;--bad:#ff7b72;--good:#56d38a}}
*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--back)}main{max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.4rem;margin:.5rem 0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.state{display:inline-block;padding:.1rem .6rem;border-radius:1rem;color:var(--back);
font-weight:600}
.bad{background:var(--bad)}.good{background:var(--good)}.soft{color:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.8rem}
.card h3{font-size:.95rem;margin:0 0 .3rem;overflow-wrap:anywhere}
.card p{margin:.2rem 0;font-size:.85rem}svg{width:100%;height:auto;display:block}
.was{fill:var(--was)}.now{fill:var(--now)}b.was{color:var(--was)}b.now{color:var(--now)}
.card text{fill:var(--soft);font:12px system-ui,sans-serif}a{color:var(--now)}
code{overflow-wrap:anywhere;font-size:.85em}.trend{max-width:36rem}summary{cursor:pointer;
padding:.5rem 0;color:var(--now)}.hint{display:none}td:not(.full){white-space:nowrap}
.n.wrap{white-space:normal}
.meter{display:inline-block;width:4.5rem;height:.55rem;background:var(--line);border-radius:.3rem;
overflow:hidden;background-image:linear-gradient(90deg,transparent calc(50% - 1px),
var(--soft) 0 50%,transparent 0)}
.meter i{display:block;height:100%;background:var(--now);opacity:.8}
.meter.hit i{background:var(--bad)}
@media(max-width:40rem){main{padding:.75rem}.stack thead{display:none}.stack tr{display:flex;
flex-wrap:wrap;gap:0 .8rem;padding:.5rem 0;border-bottom:1px solid var(--line)}
.stack td{border:0;padding:.1rem 0}.stack td.full{flex-basis:100%}.stack td:empty{display:none}
.hint{display:inline}}
"""


def render_window(
    window: Mapping[str, Any],
    verdict: Verdict,
    baseline: Baseline,
    summary: Summary,
    importance: Mapping[str, float],
    before: Sequence[Mapping[str, Any]],
) -> bytes:
    """Render one window's page."""
    columns = {column.name: i for i, column in enumerate(baseline.columns)}
    top = max(importance.values(), default=0.0)

    def weight(finding: Finding) -> float:
        share = importance.get(finding.column, 0.0) / top if top else 0.0
        ratio = finding.evidence / finding.threshold
        return ratio * (0.25 + 0.75 * share if finding.group == "input" and top else 1.0)

    # What alarms comes first, whatever its weight.
    ranked = sorted(verdict.ranking, key=lambda f: (f.alarms, weight(f)), reverse=True)
    rows = [
        f'<tr><td class="full">{"<b>alarms</b> " if f.alarms else ""}{escape(f.describe())}</td>'
        f'<td class="n">{_meter(f.evidence / f.threshold, f.alarms)}</td>'
        f'<td class="n">{_share(importance, f.column, top)}</td></tr>'
        for f in ranked[:100]
    ]
    cards = "".join(
        _card(f, baseline.columns[columns[f.column]], summary.counts[columns[f.column]])
        for f in [f for f in ranked if f.column in columns][:SHOWN_COLUMNS]
    )
    saw = "".join(f"<li>{escape(f.describe())}</li>" for f in verdict.findings[:30])
    estimated = window["estimated_quality"]
    quality = (
        ""
        if estimated is None
        else (
            f"<p>Estimated accuracy {estimated:.3f}"
            + (
                f", on the holdout {window['expected_quality']:.3f}"
                if window["expected_quality"]
                else ""
            )
            + ' <span class="soft">(an estimate from the model\'s own probabilities: right when '
            "only the inputs move, blind to a change of the labels' meaning)</span></p>"
        )
    )
    trend = [
        *before[-SHOWN_WINDOWS:],
        {"end": window["end"], "evidence": window["verdict"]["evidence"], "alarm": verdict.alarm},
    ]
    body = (
        f'<p><a href="index.html">All windows</a></p><h1>{escape(window["deployment"])}: '
        f"{_state(verdict.alarm)}</h1>"
        f"<p>{window['rows']:,} predictions, {_moment(window['start'])} to "
        f"{_moment(window['end'])} UTC, model <code>{escape(window['run'])}</code>"
        + (f"; drift since {_moment(window['since'])} UTC" if window["since"] else "")
        + "</p>"
        + (f"<h2>What the alarm saw</h2><ul>{saw}</ul>" if saw else "")
        + quality
        + "<h2>Evidence by window</h2>"
        + _trend(trend)
        + '<h2>What moved</h2><p class="soft">The strongest test of each column, weighted by the '
        "column's importance to the model. Evidence 1 is the line beyond which a change alarms, "
        f"if it is large enough as well.</p>{_changes(rows[:SHOWN_COLUMNS])}"
        + (
            f"<details><summary>{len(ranked) - SHOWN_COLUMNS} columns that moved less"
            f"{f', the first {len(rows) - SHOWN_COLUMNS}' if len(ranked) > len(rows) else ''}"
            f"</summary>{_changes(rows[SHOWN_COLUMNS:])}</details>"
            if len(rows) > SHOWN_COLUMNS
            else ""
        )
        + '<h2>Distributions</h2><p class="soft">Share of the rows in each bin or category. '
        '<b class="key was">&#9632;</b> when trained <b class="key now">&#9632;</b> this window</p>'
        f'<div class="cards">{cards}</div>'
        f"<h2>Basis</h2><p>{escape(verdict.calibration)}. Rows read from "
        f"{len(window['objects'])} captured objects:</p><ul>"
        + "".join(f"<li><code>{escape(key)}</code></li>" for key in window["objects"][:20])
        + "</ul>"
    )
    return _page(f"{window['deployment']} {window['end']}", body).encode()


def render_index(deployment: str, state: Mapping[str, Any], now: str) -> bytes:
    """Render the list of windows, the newest first."""
    history = state["history"]
    rows = "".join(
        f'<tr><td><a href="{escape(w["name"])}.html">{_moment(w["end"])}</a></td>'
        f'<td>{_state(w["alarm"])}</td><td class="n">{w["rows"]:,} rows</td>'
        f'<td class="n">{_meter(w["evidence"] or 0.0, w["alarm"])}</td>'
        f'<td class="full">{escape(w["top"])}</td>'
        f'<td class="full soft"><code>{escape(w["run"])}</code></td></tr>'
        for w in reversed(history)
    )
    quality = "".join(_quality(run, found) for run, found in state["quality"].items())
    reasons = "".join(
        f"<p><code>{escape(run)}</code>: {escape(found['sentence'])}</p>"
        for run, found in state["quality"].items()
        if found.get("sentence")
    )
    problems = "".join(f"<li>{escape(text)}</li>" for text in state["problems"])
    body = (
        f"<h1>{escape(deployment)}: what was served against what was trained on</h1>"
        f'<p class="soft">As of {_moment(now)} UTC</p>'
        + (f"<h2>To look at</h2><ul>{problems}</ul>" if problems else "")
        + ("<h2>Evidence by window</h2>" + _trend(history[-SHOWN_WINDOWS:]) if history else "")
        + (
            '<h2>Quality by labels</h2><div class="wide"><table class="stack"><thead><tr>'
            '<th>Model</th><th>Metric</th><th></th><th class="n">Holdout</th>'
            '<th class="n">First labels</th><th class="n">Since then</th>'
            '<th class="n">Latest labels</th></tr></thead>'
            f'<tbody>{quality}</tbody></table></div><p class="soft">Each with its 95% interval. '
            "The first labels end where quality changed the most, by noise or not.</p>"
            f"{reasons}"
            if quality
            else ""
        )
        + '<h2>Windows</h2><div class="wide"><table class="stack"><thead><tr>'
        "<th>Until (UTC)</th><th></th>"
        '<th class="n">Rows</th><th class="n">Evidence</th><th>Most moved</th><th>Model</th></tr>'
        f"</thead><tbody>{rows or '<tr><td colspan=6>No window has been judged yet.</td></tr>'}"
        "</tbody></table></div>"
    )
    return _page(f"{deployment}: drift", body).encode()


def _quality(run: str, found: Mapping[str, Any]) -> str:
    """Show what labels say of one version, beside what its holdout said."""
    holdout = {
        "value": found["expected"],
        "low": found.get("expected_low"),
        "high": found.get("expected_high"),
    }
    parts = (
        ("holdout", holdout),
        ("first", found.get("first")),
        ("since then", found.get("recent")),
        ("latest", found),
    )
    cells = "".join(
        f'<td class="n wrap"><span class="hint">{name} </span>{_interval(part)}</td>'
        if part
        else '<td class="n"></td>'
        for name, part in parts
    )
    word = _CAUSES.get(found.get("cause") or "", "dropped" if found["dropped"] else "holds")
    return (
        f'<tr><td class="full"><code>{escape(run)}</code></td><td>{escape(found["metric"])}</td>'
        f'<td class="full"><b>{word}</b></td>{cells}</tr>'
    )


_CAUSES = {
    NEVER: "never was what was claimed",
    FELL: "fell",
    UNCLEAR: "dropped, not clear why",
}


def _interval(part: Mapping[str, Any]) -> str:
    limits = ""
    if part.get("low") is not None:
        limits = f" ({_number(part['low'])} to {_number(part['high'])})"
    rows = f" on {part['rows']:,}" if "rows" in part else ""
    return f"{_number(part['value'])}{limits}{rows}"


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _state(alarm: bool) -> str:
    kind, text = ("bad", "drift") if alarm else ("good", "no drift")
    return f'<span class="state {kind}">{text}</span>'


def _moment(text: str) -> str:
    """Shorten `2026-01-31T12:00:00Z` to what a table of hours needs."""
    return escape(text[:16].replace("T", " "))


def _changes(rows: Sequence[str]) -> str:
    return (
        '<div class="wide"><table class="stack"><thead><tr><th>Change</th><th>Evidence</th>'
        f'<th class="n">Importance</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _meter(ratio: float, alarm: bool) -> str:
    """Show evidence as a number and a bar that is full at twice the line."""
    width = 100.0 * min(max(ratio, 0.0), 2.0) / 2.0
    return (
        f'<span class="meter{" hit" if alarm else ""}"><i style="width:{width:.0f}%"></i></span> '
        f"{max(ratio, 0.0):.2f}"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _share(importance: Mapping[str, float], name: str, top: float) -> str:
    if not top or name not in importance:
        return ""
    return f"{100 * importance[name] / top:.0f}% <span class=hint>of the top importance</span>"


def _trend(windows: Sequence[Mapping[str, Any]]) -> str:
    """Draw evidence by window against the line that alarms."""
    values = [min(float(w["evidence"] or 0.0), LARGEST_SHOWN) for w in windows]
    places = [float(i) for i in range(len(values))]
    last = max(len(values) - 1, 1)

    def moment(place: float) -> str:
        if not place.is_integer() or place >= len(windows):
            return ""  # Between two windows there is no moment to name.
        return str(windows[int(place)]["end"])[5:16].replace("T", " ")

    drawn = charts.draw_lines(
        [
            Series("evidence", places, values, marks=True),
            Series("alarms from here", [0.0, float(last)], [1.0, 1.0], dashed=True),
        ],
        title="evidence by window",
        x_label="end of the window (UTC)",
        y_label="evidence",
        x_range=(0.0, float(last)),
        y_range=(0.0, max(1.25, *values) * 1.05),
        x_format=moment,
    )
    return f'<div class="trend">{drawn}</div>'


def _card(finding: Finding, column: ColumnBaseline, counts: Any) -> str:
    was = column.shares(column.counts)
    now = column.shares(counts)
    labels = _slot_labels(column)
    used = [i for i in range(len(labels)) if was[i] > 0 or now[i] > 0]
    used = used[:40]
    width, height = 300, 96
    top = max(float(np.max(was)), float(np.max(now)), 1e-9)
    step = width / max(len(used), 1)
    bars = ""
    for place, i in enumerate(used):
        x = place * step
        for kind, share, shift in (("was", was[i], 0.08), ("now", now[i], 0.5)):
            tall = float(share) / top * (height - 16)
            bars += (
                f'<rect class="{kind}" x="{x + shift * step:.1f}" y="{height - 14 - tall:.1f}" '
                f'width="{max(step * 0.4, 0.6):.1f}" height="{tall:.1f}"><title>'
                f"{escape(labels[i])}: {100 * float(share):.1f}%</title></rect>"
            )
    ends = (labels[used[0]], labels[used[-1]]) if used else ("", "")
    return (
        f'<div class="card"><h3>{escape(column.name)}</h3>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(column.name)}">{bars}'
        f'<text x="0" y="{height - 2}">{escape(ends[0][:22])}</text>'
        f'<text x="{width}" y="{height - 2}" text-anchor="end">{escape(ends[1][:22])}</text></svg>'
        f"<p>{escape(finding.describe())}</p></div>"
    )


def _slot_labels(column: ColumnBaseline) -> list[str]:
    tail = ["missing", "unseen"]
    if column.kind == "presence":
        return ["present", *tail]
    if column.kind == "category":
        return [*column.labels, "other", *tail]
    edges = column.edges
    inner = [
        show_number(low)
        if math.isclose(low, high)
        else f"{show_number(low)} to {show_number(high)}"
        for low, high in pairwise(edges)
    ]
    return [f"< {show_number(edges[0])}", *inner, f"> {show_number(edges[-1])}", *tail]
