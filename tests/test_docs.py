"""The documents tell the truth: links lead somewhere, and a test runs every command in them."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(?:console|bash|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)\s]*)?\)")

# Commands that set a machine up or leave it; a test cannot run them for the reader.
FOR_THE_READER = ("git clone ", "cd ", "export ")


def read_commands(text: str) -> list[str]:
    """Take the commands out of the fenced blocks: lines of output and comments are left out."""
    commands = []
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.removeprefix("$ ").strip()
            command = re.sub(r"\s{2,}#.*$|\s#\s.*$", "", line)
            if re.match(r"(make|python -m|cdk|npx|curl|git|export|cd|node_modules/)\b", command):
                commands.append(re.sub(r"\s+", " ", command))
    return commands


def list_commands() -> list[str]:
    """List every different command of the documents."""
    found = [command for path in DOCUMENTS for command in read_commands(path.read_text())]
    return sorted({command for command in found if not command.startswith(FOR_THE_READER)})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path: Path) -> None:
    """A relative link names a file of the project."""
    for target, _ in LINK.findall(path.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize(
    "command", [command for command in list_commands() if command.startswith("make")]
)
def test_make_commands_name_targets(command: str) -> None:
    """`make -n` accepts the command: its target and what it depends on are there."""
    done = subprocess.run(
        ["make", "-n", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_command_is_run_by_a_test() -> None:
    """What the documents tell a reader to type is typed by a test."""
    runs_elsewhere = (
        "make ",  # test_make_commands_name_targets; their recipes are commands tested below
        "python -m local demo",  # tests/loop/test_demo.py
        "python -m local up",  # tests/local/
        "python -m ops ",  # tests/loop/test_commands.py runs each of them as it is written
        "python -m training.train --local",  # tests/training/
        "python -m bench ",  # tests/test_bench.py
        "curl ",  # tests/loop/test_commands.py
        "node_modules/.bin/cdk ",  # tests/local/test_cdk_cli.py
    )
    unknown = [command for command in list_commands() if not command.startswith(runs_elsewhere)]
    assert not unknown, f"no test runs: {unknown}"


def test_runbook_has_a_page_for_each_alarm() -> None:
    """Each alarm of the templates links to its page; `tests/infra` checks the other direction."""
    pages = {path.stem for path in (ROOT / "docs/runbook").glob("*.md")}
    kinds = set(
        re.findall(
            r'kind="([a-z0-9-]+)"',
            "".join(path.read_text() for path in (ROOT / "infra").rglob("*.py")),
        )
    )
    assert kinds <= pages, f"no page for {sorted(kinds - pages)}"
