"""The doubts about the model's claim, and what to do about them."""

from collections.abc import Mapping
from html import escape
from typing import Any

from core.doubts import RaisedDoubt, read_doubts, write_accepted
from training.judge.report.html import make_table


def list_held(evaluation: Mapping[str, Any]) -> list[RaisedDoubt]:
    """List the doubts that are not accepted."""
    return [doubt for doubt in read_doubts(evaluation) if not doubt.accepted]


def show_doubts(evaluation: Mapping[str, Any]) -> str:
    """Show every doubt; nothing where there is none."""
    doubts = read_doubts(evaluation)
    if not doubts:
        return ""
    held = list_held(evaluation)
    rows = [
        [
            f"<code>{escape(doubt.name)}</code>",
            escape(doubt.sentence),
            '<span class="yes">accepted</span>'
            if doubt.accepted
            else '<span class="wait">holds</span>',
        ]
        for doubt in doubts
    ]
    return (
        "<h2>Doubts</h2><p>Reasons for which the figures below may promise more than service will "
        f"show. {_say_what_to_do(doubts, held)}</p>"
        + make_table(["doubt", "what was seen", "state"], rows)
        + _show_key(doubts, held)
    )


def _say_what_to_do(doubts: tuple[RaisedDoubt, ...], held: list[RaisedDoubt]) -> str:
    if not held:
        return "All of them are accepted in project.toml, so they hold nothing up."
    if len(held) == len(doubts):
        which = "They hold" if len(held) > 1 else "This one holds"
    else:
        which = f"{len(held)} of them hold" if len(held) > 1 else "One of them holds"
    return (
        f"{which} the version until a person has decided: correct the data and train again, or "
        "approve the version once with <code>python -m ops approve</code>."
    )


def _show_key(doubts: tuple[RaisedDoubt, ...], held: list[RaisedDoubt]) -> str:
    if not held:
        return ""
    key = write_accepted(doubt.name for doubt in (*(d for d in doubts if d.accepted), *held))
    return (
        "<p>What is right now and will be in every later run can be accepted by name: in "
        f"project.toml, under <code>[gates]</code>, <code>{escape(key)}</code>. What each doubt "
        "looks for is in <code>docs/judge.md</code>.</p>"
    )
