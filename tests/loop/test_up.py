"""`make up` leaves a cloud that answers the calls it prints."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loop.test_doubts import make_customers
from tests.test_docs import ROOT
from tests.training.projects import PROBLEMS, write_project

pytestmark = pytest.mark.xdist_group("loop-commands")

TIMEOUT_SECONDS = 240.0


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Make a folder to work in: the project, its environment, and nothing that it left behind."""
    for path in ROOT.iterdir():
        if path.name not in {".local", ".git", "cdk.out"}:
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.fixture
def cloud(assembly: Path, desk: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the example's cloud and return it with what it printed until the model was live."""
    yield from start(desk, "--assembly", str(assembly))


def start(desk: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `python -m local up` until it says how to end it, and end it after the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "local", "up", *options],
        cwd=desk,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    printed = ""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    for line in process.stdout:
        printed += line
        if "Ctrl-C ends it" in line:
            break
        assert time.monotonic() < deadline, printed
    yield process, printed
    process.kill()
    process.wait()


@pytest.fixture
def doubtful(
    desk: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the cloud of a project with a column that knows the target."""
    (desk / "project.toml").unlink()
    write_project(desk, make_customers(700, 1, "age"), PROBLEMS["binary"])
    # Synthesised here: the reader's app.py is a link, and finds the project beside its target.
    context = ("-c", "stage=local", "-c", f"project={desk / 'project.toml'}")
    out = str(tmp_path_factory.mktemp("doubtful") / "cdk.out")
    subprocess.run(
        ["node_modules/.bin/cdk", "synth", "--quiet", *context, "-o", out], cwd=ROOT, check=True
    )
    yield from start(desk, "--assembly", out)


def find_call(printed: str) -> str:
    """Take the call of POST /predict out of what was printed."""
    after = printed.partition("the model is live")[2]
    return "curl" + after.partition("curl")[2].partition("\nor, in another")[0]


def test_the_printed_calls_work_and_ctrl_c_ends_it(
    cloud: tuple[subprocess.Popen[str], str], desk: Path
) -> None:
    """The copied curl is answered, `ops` finds the cloud, and Ctrl-C leaves nothing."""
    process, printed = cloud
    assert "the model is live" in printed, printed
    called = subprocess.run(
        ["bash", "-c", find_call(printed)], capture_output=True, text=True, check=True
    )
    assert json.loads(called.stdout)["predictions"][0]["label"] in {"benign", "malignant"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    for command in ("status --json", "predict --golden"):
        done = subprocess.run(
            [sys.executable, "-m", "ops", *command.split(), "--stage", "local"],
            cwd=desk,
            env=kept,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert not (desk / ".local" / "cloud.json").exists()


def test_a_model_that_waits_leaves_the_cloud_running(
    doubtful: tuple[subprocess.Popen[str], str], desk: Path
) -> None:
    """Else nobody could approve it: what is printed says why it waits, and how it goes live."""
    process, printed = doubtful
    assert "waits for a person; none is live" in printed, printed
    assert "presence:closed_on: 'closed_on' is filled in" in printed
    (command,) = re.findall(r"python -m (ops approve 1 --stage local)$", printed, re.MULTILINE)
    assert process.poll() is None
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=desk,
        env=kept,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "promotion starts now" in done.stdout
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
