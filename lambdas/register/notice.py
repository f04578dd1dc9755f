"""The notice to people that a version waits for one of them."""

from collections.abc import Sequence

from core.bundle import REPORT
from core.doubts import RaisedDoubt, write_accepted

# A mail that lists more helps nobody; a message of SNS and a state's output hold 256 KB.
SHOWN = 10
SENTENCE_LIMIT = 1_000


def write_notice(
    *,
    deployment: str,
    stage: str,
    version: str,
    model_uri: str,
    reason: str,
    doubts: Sequence[RaisedDoubt],
    accepted: Sequence[str],
) -> str:
    """Say which version waits, why, and the ways on; plain text, as a mail shows it.

    `accepted` is what `[gates] accepted` lists already: the line to copy keeps it.
    """
    command = f"python -m ops approve {version} --stage {stage}"
    lines = [
        f"Model version {version} of {deployment} does not go live by itself: it waits for a "
        "person. The live model, if there is one, keeps serving.",
        "",
        "Why:",
    ]
    if doubts:
        lines += [
            f"- {' '.join(doubt.name.split())}: {doubt.sentence[:SENTENCE_LIMIT]}"
            for doubt in doubts[:SHOWN]
        ]
        if len(doubts) > SHOWN:
            lines.append(f"- and {len(doubts) - SHOWN} more, in the report")
    else:
        lines.append(f'- [gates] approval is "manual"; the run says: {reason}')
    lines += [
        "",
        f"Its report: {model_uri}{REPORT}",
        "",
        "What to do, one of:",
        "- Something is wrong with the data: reject the version, and correct what the sentence "
        "names.",
        f"    {command} --reject",
        "- It is right: approve this version, once.",
        f"    {command}",
    ]
    if doubts:
        named = write_accepted([*accepted, *(doubt.name for doubt in doubts[:SHOWN])])
        lines += [
            "- It is right, and will be in every later run: in project.toml set",
            "    [gates]",
            f"    {named}",
            "  and deploy; the next run goes live by itself.",
            "",
            "What each doubt looks for: docs/judge.md",
        ]
    return "\n".join(lines)
