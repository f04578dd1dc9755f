"""A project as a user has it: `ops init` on the first file, then the training job on all."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from core.bundle import Bundle
from core.errors import DataError, DriftlessError
from ops.__main__ import main as operate
from training import jobs
from training.jobs import Job
from training.log import Log

STAGE = "judge"
TABLE = "table"


@dataclass(frozen=True)
class Run:
    """One training run: its bundle and evaluation, or the sentence with which it stopped."""

    bundle: Path | None
    evaluation: Mapping[str, Any]
    refused: str = ""

    @property
    def live(self) -> bool:
        """Say whether the model goes live by itself."""
        return (
            self.bundle is not None and self.evaluation["decision"]["promote"] and not self.doubts
        )

    @property
    def doubts(self) -> list[str]:
        """Name the doubts that nobody has accepted."""
        found = self.evaluation.get("doubts", ())
        return [doubt["name"] for doubt in found if not doubt["accepted"]]

    @property
    def claim(self) -> dict[str, float]:
        """Give the claimed value of the metric with its interval."""
        found: dict[str, float] = self.evaluation["metrics"][self.evaluation["metric"]]
        return found

    @property
    def reason(self) -> str:
        """Say in one sentence what became of the run."""
        return self.refused or str(self.evaluation["decision"]["reason"])


class Project:
    """A folder with project.toml and the table's files."""

    def __init__(self, folder: Path, written: str) -> None:
        """Use a folder that `begin` has filled; `written` is what `ops init` wrote there."""
        self.folder, self.written = folder, written

    @classmethod
    def begin(
        cls,
        folder: Path,
        first: Path,
        target: str,
        *,
        settings: Mapping[str, Mapping[str, object]],
        without: str = "",
    ) -> Project:
        """Let `ops init` write project.toml from the first file; `settings` make a stage of it.

        `without` names a column that a person takes out of [columns] until the next `change`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "project.toml"
        arguments = ["--target", target, "--name", "judge", "--output", str(file)]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = operate(["init", str(first), *arguments, "--force", "--json"])
        if code:
            raise DataError(f"ops init: {said.getvalue().strip().splitlines()[-1]}")
        (folder / TABLE).mkdir(exist_ok=True)
        project = cls(folder, file.read_text(encoding="utf-8"))
        project.change(settings, without=without)
        return project

    def change(self, settings: Mapping[str, Mapping[str, object]], *, without: str = "") -> None:
        """Put settings into a stage of their own, in place of those before."""
        stage = {"data": {}, **settings}
        stage["data"] = {"file": TABLE, **stage["data"]}
        lines = [
            line
            for line in self.written.rstrip().splitlines()
            if not without or not line.startswith(f"{without} = ")
        ]
        for section, members in stage.items():
            lines.append(f"\n[stages.{STAGE}.{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in members.items()]
        text = "\n".join(lines) + "\n"
        (self.folder / "project.toml").write_text(text, encoding="utf-8")

    def deliver(self, file: Path, name: str) -> None:
        """Put a file beside those that have arrived."""
        shutil.copyfile(file, self.folder / TABLE / name)

    def job(self, champion: Path | None = None) -> Job:
        """Give the job that `python -m training.train --local` would run now."""
        return jobs.read_folder(self.folder, champion=champion, trigger="data", stage=STAGE)

    def train(self, champion: Path | None = None) -> Run:
        """Run the whole training job; a refusal is an answer too."""
        from training.train import train

        # As the command does it, but for the clock, which a process starts once for all its runs.
        with silenced():
            try:
                bundle = train(self.job(champion), Log(time.monotonic()))
            except DriftlessError as error:
                return Run(None, {}, str(error))
        return Run(bundle, Bundle.from_folder(bundle).evaluation())


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Drop what is printed meanwhile."""
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def write_file(frame: pd.DataFrame, path: Path) -> Path:
    """Write rows as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return path
