"""The page: all sections of the report, with its style."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from core.contract import Contract
from training.data.dataset import Data
from training.jobs import Job
from training.judge.report.comparison import show_champion, show_nothing
from training.judge.report.details import show_data, show_importance, show_search, show_slices
from training.judge.report.doubts import show_doubts
from training.judge.report.figures import show_charts
from training.judge.report.verdict import show_head, show_metrics

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--good:#00734f;--bad:#b3261e;--wait:#8a4b00}
@media(prefers-color-scheme:dark){:root{--good:#4fd0a0;--bad:#ff8a80;--wait:#ffb86b}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;max-width:64rem;margin:0 auto;
padding:1rem}
h1{font-size:1.5rem;margin:.2rem 0}
h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1rem 0 .3rem}p{margin:.4rem 0;max-width:46rem}
.verdict{padding:.7rem 1rem;border-left:5px solid;background:var(--soft);margin:1rem 0}
.good{border-color:var(--good)}.bad{border-color:var(--bad)}.hold{border-color:var(--wait)}
.yes{color:var(--good);font-weight:600}.no{color:var(--bad);font-weight:600}
.wait{color:var(--wait);font-weight:600}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.4rem 0;min-width:50%}
th,td{padding:.25rem .7rem .25rem 0;text-align:left;border-bottom:1px solid var(--line);
vertical-align:top}
td.n,th.n{text-align:right}code{font-size:.9em;overflow-wrap:anywhere}
td:first-child code{overflow-wrap:normal}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem}
figure{margin:0;break-inside:avoid}figcaption{font-size:.9em}
svg{width:100%;height:auto;max-width:40rem}
.note{opacity:.75;font-size:.9em}
@media print{body{max-width:none;font-size:10.5pt;padding:0}h2{break-after:avoid}
tr,figure,.verdict{break-inside:avoid}
.charts{grid-template-columns:1fr 1fr}.verdict,.wide{overflow:visible}}
"""


def write_report(job: Job, data: Data, evaluation: Mapping[str, Any]) -> bytes:
    """Write report.html."""
    return render_report(
        evaluation,
        data.contract,
        deployment=job.settings.deployment,
        run=job.run,
        trigger=job.trigger,
        gates={
            "minimum": dict(job.settings.gates.minimum),
            "maximum": dict(job.settings.gates.maximum),
        },
        inputs=data.inputs,
        commit=str(job.plan.get("commit") or "") or None,
    ).encode()


def render_report(
    evaluation: Mapping[str, Any],
    contract: Contract,
    *,
    deployment: str,
    run: str,
    trigger: str,
    gates: Mapping[str, Mapping[str, float]],
    inputs: Sequence[Mapping[str, Any]],
    commit: str | None,
) -> str:
    """Render the evaluation as one HTML page; the same bytes for the same input."""
    sections = [
        show_head(evaluation, contract, deployment, run, trigger, gates),
        show_doubts(evaluation),
        show_metrics(evaluation, gates),
        show_champion(evaluation, trigger),
        show_nothing(evaluation),
        show_charts(evaluation, contract),
        show_importance(evaluation),
        show_slices(evaluation),
        show_search(evaluation),
        show_data(evaluation, contract, inputs, commit),
    ]
    title = f"{escape(deployment)}: evaluation of {escape(run)}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body></html>\n"
    )
