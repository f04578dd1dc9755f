"""Parse the command line and run one of the operator's commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from core.errors import DriftlessError
from ops import approve, data, destroy, drift, init, predict, rollback, score, status, train, why

COMMANDS = (init, data, train, status, approve, rollback, predict, score, drift, why, destroy)

EXAMPLES = """examples:
  python -m ops init customers.csv --target churned   write project.toml for your own table
  python -m ops data customers.csv                    upload the table; training starts
  python -m ops status                                show the live model, runs and alarms
  python -m ops predict rows.json                     score rows with the live model
  python -m ops rollback                              restore the previous model

exit status: 0 success, 1 failure (the reason is on stderr), 2 wrong usage"""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all the commands."""
    parser = argparse.ArgumentParser(
        prog="python -m ops",
        description="Operate a deployed model: train, inspect, approve, roll back, trace.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name and return its exit status."""
    args = build_parser().parse_args(arguments)
    try:
        return int(args.func(args))
    except DriftlessError as error:
        print(f"error: {error}", file=sys.stderr)
    except (ClientError, BotoCoreError) as error:
        print(f"error: a call to AWS failed: {error}", file=sys.stderr)
    except BrokenPipeError:
        # The program that reads the output (`| head`) has closed it.
        sys.stderr.close()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
