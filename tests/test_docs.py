"""Links in the documents lead to files, and a test runs every command in them."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from bench.__main__ import NAMES
from core.doubts import DOUBT_KINDS
from ops.__main__ import COMMANDS, build_parser

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(?:console|bash|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(#[^)\s]*)?\)")
OPS_COMMANDS = {*(module.__name__.rpartition(".")[2] for module in COMMANDS), "--help"}
INLINE = re.compile(r"`([^`\n]+)`")

# Commands for the reader's own machine, which a test cannot run.
FOR_THE_READER = ("git clone ", "cd ", "export ")


def read_commands(text: str) -> list[str]:
    """Take the commands out of the fenced blocks, without output and comments."""
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
    """A relative link names a file of the project, and a heading of it where it has an anchor."""
    for target, anchor in LINK.findall(path.read_text()):
        if not re.match(r"[a-z]+:", target):
            file = path.parent / target if target else path
            assert file.exists(), f"{path.name} links to {target}"
            if anchor:
                assert anchor[1:] in list_anchors(file), f"{path.name} links to {target}{anchor}"


def list_anchors(path: Path) -> set[str]:
    """List the anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_in_the_text_exist(path: Path) -> None:
    """A path below one of the project's folders, written as code, is there."""
    folders = "core|infra|lambdas|training|local|ops|bench|tests|examples|docs"
    for name in INLINE.findall(path.read_text()):
        if re.fullmatch(rf"(?:{folders})/[\w./-]*", name):
            assert (ROOT / name).exists(), f"{path.name} names {name}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_the_text_exist(path: Path) -> None:
    """A command within a sentence is one that the project has, with options that it has."""
    for command in INLINE.findall(path.read_text()):
        words = shlex.split(command) if command.startswith(("make ", "python -m ")) else []
        if words[:1] == ["make"]:
            done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True)
            assert done.returncode == 0, f"{path.name} names {command}"
        elif words[2:3] == ["ops"]:
            assert {*words[3:4]} <= OPS_COMMANDS, f"{path.name} names {command}"
            if words[4:]:
                build_parser().parse_args(words[3:])  # exits where it does not parse
        elif words[2:3] == ["bench"]:
            assert {*words[3:4]} <= {*NAMES, "all"}, f"{path.name} names {command}"


@pytest.mark.parametrize(
    "command", [command for command in list_commands() if command.startswith("make")]
)
def test_make_commands_name_targets(command: str) -> None:
    """`make -n` accepts the command: the target and its prerequisites exist."""
    done = subprocess.run(
        ["make", "-n", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_command_is_run_by_a_test() -> None:
    """Every command that the documents show is run by a test."""
    runs_elsewhere = (
        "make ",  # test_make_commands_name_targets; their recipes are tested below
        "python -m local demo",  # tests/loop/test_demo.py
        "python -m local up",  # tests/loop/test_up.py
        "python -m ops ",  # tests/loop/test_commands.py runs each as it is written
        "python -m training.train --local",  # tests/training/
        "python -m bench ",  # tests/test_bench.py
        "curl ",  # tests/loop/test_commands.py
        "node_modules/.bin/cdk ",  # tests/loop/test_commands.py
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


def test_the_page_about_judging_has_a_section_for_each_doubt() -> None:
    """Whoever is asked to decide about a doubt finds what it looks for under its name."""
    headings = re.findall(r"^### (.+)$", (ROOT / "docs/judge.md").read_text(), re.MULTILINE)
    named = [name.partition(":")[0] for line in headings for name in re.findall(r"`(.+?)`", line)]
    assert set(named) == set(DOUBT_KINDS)
