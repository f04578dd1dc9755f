"""Run one benchmark, or all of them: `python -m bench serving --quick --json out.json`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAMES = ("serving", "scoring", "drift", "judge", "training", "loop")
OUTPUT = Path(".build/bench")


def describe_machine() -> dict[str, Any]:
    """Describe the machine that the figures were measured on."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }


def measure(name: str, *, quick: bool) -> dict[str, Any]:
    """Run one benchmark; return its figures, the machine and the seconds it took."""
    module = importlib.import_module(f"bench.{name}")
    began = time.perf_counter()
    figures = dict(module.run(quick=quick))
    return {
        **figures,
        "machine": describe_machine(),
        "quick": quick,
        "seconds": round(time.perf_counter() - began, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the arguments name and write their figures as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Benchmark Driftless against other projects in the same run.",
        epilog="example: python -m bench drift --quick --json drift.json",
    )
    parser.add_argument("name", choices=(*NAMES, "all"))
    parser.add_argument(
        "--quick", action="store_true", help="fewer repetitions: faster, with wider intervals"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="the file to write (default: .build/bench/NAME.json)",
    )
    args = parser.parse_args(arguments)
    names = NAMES if args.name == "all" else (args.name,)
    if args.json and len(names) > 1:
        parser.error("--json takes one benchmark; `all` writes .build/bench/NAME.json")
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr)
        text = json.dumps(measure(name, quick=args.quick), indent=2)
        path = args.json or OUTPUT / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
