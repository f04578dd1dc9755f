"""What people are told about a run that did not fail: it is held, or files are not read."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_LISTED = 20  # files in one notice, or in the result of a run


@dataclass(frozen=True)
class Notice:
    """One message to the notification topic; SNS takes subjects of up to 100 ASCII characters."""

    subject: str
    message: str


def shorten(sentences: Sequence[str]) -> list[str]:
    """Keep the first sentences, and count the others."""
    kept, more = list(sentences[:MAX_LISTED]), len(sentences) - MAX_LISTED
    return [*kept, f"{more} more files"] if more > 0 else kept


def write_notice(
    deployment: str, execution: str, *, held: str, unread: Sequence[str]
) -> Notice | None:
    """Write one notice of both; `held` is the reason, `unread` a sentence for each file."""
    parts = []
    if held:
        parts.append(
            f"Run {execution.rpartition(':')[2]} is held, nothing was trained: {held}. "
            "The champion keeps serving. After a change of project.toml: deploy, then "
            "python -m ops train. What to do: docs/data.md"
        )
    if unread:
        lines = [f"- {sentence}" for sentence in shorten(unread)]
        parts.append("\n".join(["Not read, so that no model learns from it:", *lines]))
    if not parts:
        return None
    what = "a training run is held" if held else "files under data/ are not read"
    return Notice(f"{deployment}: {what}", "\n\n".join(parts))
