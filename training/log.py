"""The log of a training job: what it says, and how long each step took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Log:
    """Progress lines with the seconds since the start, and how long each stage took."""

    started: float
    seconds: dict[str, float] = field(default_factory=dict)

    def say(self, message: str) -> None:
        """Print one line."""
        print(f"[{self.elapsed():6.1f} s] {message}", flush=True)

    def elapsed(self) -> float:
        """Give the seconds since the job started."""
        return time.monotonic() - self.started

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Keep how long a stage took."""
        began = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - began, 3)
