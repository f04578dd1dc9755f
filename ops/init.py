"""Inspect a table and write project.toml from it."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.markup import escape
from rich.table import Table

from core.arrival import Arrival, natural_order
from core.contract import TASKS, Column, Contract
from core.data_objects import recognise
from core.errors import OperationError
from core.settings import load_settings
from core.settings.sections import Data
from ops.conversion import convert_beside, is_convertible
from ops.proposal import Proposal, propose_for_file, propose_for_files
from ops.screen import console, print_json
from training.data.arrival import Files
from training.data.inspection import ColumnFinding, Findings, infer_contract
from training.data.reading import find_tables, find_unread, read_files

PROJECT_FILE = Path("project.toml")
# The file lists no more categories than this per column; beyond it, each training learns them.
MAX_LISTED_CATEGORIES = 30
MAX_SHOWN_NAME = 32

_ROLE_STYLE = {"target": "bold", "left out": "dim", "id": "dim", "time": "cyan", "group": "cyan"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `init`."""
    parser = subparsers.add_parser(
        "init",
        help="inspect a table and write project.toml",
        description="Read a table of one file or several, report its columns and how data arrive, "
        "and write project.toml.",
        epilog="example: python -m ops init customers.csv --target churned",
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="file",
        help="CSV, Parquet, a spreadsheet or JSON; several files, or a folder, in the order of "
        "their names, show how data arrive",
    )
    parser.add_argument("--sheet", default="", help="the sheet of a workbook that has several")
    parser.add_argument("--target", help="the column to predict")
    parser.add_argument("--task", choices=TASKS, help="the task (default: inferred)")
    parser.add_argument("--positive", help="the positive class of a binary task")
    parser.add_argument("--id", dest="id_column", metavar="COLUMN", help="identifies a row")
    parser.add_argument("--time", dest="time_column", metavar="COLUMN", help="a row's time")
    parser.add_argument(
        "--group",
        dest="group_column",
        metavar="COLUMN",
        help="a row's group; a split keeps it whole",
    )
    parser.add_argument("--name", help="the project's name (default: from the file's name)")
    parser.add_argument(
        "--columns", help="the column names of a CSV without a header, separated by commas"
    )
    parser.add_argument("--separator", default="", help="a CSV's separator (default: detected)")
    parser.add_argument(
        "--encoding",
        default="",
        choices=("", "utf-8", "latin-1", "utf-16"),
        help="a CSV's encoding (default: detected)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=PROJECT_FILE,
        help="the file to write (default: project.toml)",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=main)


def main(args: argparse.Namespace) -> int:
    """Inspect the table, write the file, and show the findings."""
    output: Path = args.output
    if output.exists() and not args.force:
        raise OperationError(
            f"{output} already exists; --force replaces it, --output names another file"
        )
    separator = args.separator.replace("\\t", "\t")
    columns = tuple(name.strip() for name in args.columns.split(",")) if args.columns else ()
    data = Data(separator=separator, encoding=args.encoding, columns=columns)
    converted = [path for path in args.files if path.is_file() and is_convertible(path)]
    sources = [
        convert_beside(path, data, sheet=args.sheet) if path in converted else _check_source(path)
        for path in args.files
    ]
    files = read_arrived(sources, data)
    contract, findings, proposal = infer_project(files, args)
    file, others = name_data_file(sources, output.parent)
    text = write_settings(
        contract,
        findings,
        name=args.name or derive_name(args.files[0]),
        file=_relative(file, output.parent),
        separator=separator,
        encoding=args.encoding,
        columns=columns,
        arrival=proposal.arrival,
        why=proposal.why,
    )
    write_checked(output, text)
    notes = [
        *(f"{path} is read as {path.with_suffix('.csv')}, written beside it" for path in converted),
        *(str(unread) for source in sources for unread in find_unread(source)),
        *(
            f"{name!r} starts anew in each file, so it names no row: left out"
            for name in proposal.no_ids
        ),
        *([others] if others else []),
        f'[data] arrival = "{proposal.arrival}": {proposal.why}',
    ]
    if args.json:
        told = {"arrival": proposal.arrival, "notes": notes}
        print_json({"written": str(output), "task": contract.task, **told, **findings.to_dict()})
    else:
        show_findings(contract, findings)
        for note in notes:
            console.print(f"[yellow]note[/yellow] {escape(note)}")
        console.print(f"\nWrote [bold]{output}[/bold]. Next: make up, or make deploy.")
    return 0


def _check_source(path: Path) -> Path:
    """Refuse a file that would be no table under `data/`."""
    if path.is_file():
        found = recognise(path.name, path.stat().st_size)
        if found.kind != "table":
            raise OperationError(f"{path} {found.reason or 'is no table: name a CSV or Parquet'}")
    return path


def read_arrived(sources: Sequence[Path], data: Data) -> Files:
    """Read files and folders as training does, in the natural order of their names."""
    named = [
        (path.relative_to(source) if source.is_dir() else Path(path.name), path)
        for source in sources
        for path in find_tables(source)
    ]
    named.sort(key=lambda entry: natural_order(entry[0].as_posix()))
    table, places = read_files(
        [path for _, path in named],
        separator=data.separator,
        encoding=data.encoding,
        columns=data.columns,
    )
    return Files(
        table,
        places,
        tuple(name.as_posix() for name, _ in named),
        tuple(name.parts[0] for name, _ in named),
    )


def infer_project(files: Files, args: argparse.Namespace) -> tuple[Contract, Findings, Proposal]:
    """Infer the contract of the table that the files make, and how they make it."""
    frame = files.table
    target, id_column, time_column, group_column = (
        _find_name(frame, name)
        for name in (args.target, args.id_column, args.time_column, args.group_column)
    )
    several = None
    if len(files.names) > 1 and (id_column is None or id_column in frame.columns):
        taken = (target, time_column, group_column)
        several = propose_for_files(files, id_column=id_column, taken=taken)
        frame = several.table
        id_column = several.id_column
    contract, findings = infer_contract(
        frame,
        target,
        task=args.task,
        positive=args.positive,
        id_column=id_column,
        time_column=time_column,
        group_column=group_column,
    )
    if several is not None:
        return contract, findings, several
    arrival, why = propose_for_file(frame, contract.id_column)
    return contract, findings, Proposal(arrival, why, contract.id_column, frame)


def name_data_file(sources: Sequence[Path], project: Path) -> tuple[Path, str]:
    """Name what `[data] file` is: the one source, or a folder of these tables alone.

    Else it is the newest file, and the second answer says how to go on with all of them. The folder
    of project.toml holds models, too, and is never taken.
    """
    if len(sources) == 1:
        return sources[0], ""
    folders = {source.parent.resolve() for source in sources}
    named = {path.resolve() for source in sources for path in find_tables(source)}
    if len(folders) == 1 and folders != {project.resolve()}:
        folder = sources[0].parent
        if {path.resolve() for path in find_tables(folder)} == named:
            return folder, ""
    newest = max(sources, key=lambda source: natural_order(source.name))
    every = " ".join(shlex.quote(str(path)) for path in sources)
    return newest, (
        "[data] file names one file or folder, so it names the newest file. Put all of them into a "
        f"folder of their own and name that, or send them all: python -m ops data {every}"
    )


def _find_name(frame: pd.DataFrame, name: str | None) -> str | None:
    """Return a column's name as given or, where no column has it, stripped of outer blanks."""
    return name if name is None or name in frame.columns else name.strip()


def write_checked(output: Path, text: str) -> None:
    """Write the file completely or not at all, after checking that it can be read back.

    Raises OperationError where the file cannot be written.
    """
    partial = output.with_name(f".{output.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        load_settings(partial)
        os.replace(partial, output)
    except OSError as error:
        raise OperationError(f"cannot write {output}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def derive_name(file: Path) -> str:
    """Derive a project name from a file name: lower-case letters, digits, hyphens, at most 20."""
    stem = file.name.split(".")[0].lower()
    name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")
    name = re.sub(r"^[^a-z]+", "", name)[:20].strip("-")
    return name or "model"


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()


def write_settings(
    contract: Contract,
    findings: Findings,
    *,
    name: str,
    file: str,
    separator: str = "",
    encoding: str = "",
    columns: Sequence[str] = (),
    arrival: Arrival = "append",
    why: str = "rows of later files add up",
) -> str:
    """Return the text of project.toml for a contract, with the findings as comments."""
    lines = [
        "# Written by `python -m ops init`; edit it freely. Every key is described in",
        "# project.schema.json; keys that are left out have their defaults.",
        "",
        "[project]",
        f"name = {_quote(name)}",
        "",
        "[data]",
        f"file = {_quote(file)}",
    ]
    lines += [f"separator = {_quote(separator)}"] if separator else []
    lines += [f"encoding = {_quote(encoding)}"] if encoding else []
    lines += [f"columns = {_list(columns)}"] if columns else []
    lines += [f"# {_one_line(why)}", f"arrival = {_quote(arrival)}"]
    lines += ["", *_problem_lines(contract, findings), "", *_column_lines(contract, findings)]
    lines += ["", *_split_lines(findings), "", *_gate_lines(contract), "", _OTHER_TABLES]
    return "\n".join(lines)


def _problem_lines(contract: Contract, findings: Findings) -> list[str]:
    lines = ["[problem]", f"task = {_quote(contract.task)}"]
    if contract.target is not None:
        lines.append(f"target = {_quote(contract.target)}")
    if contract.positive is not None:
        counted = _count_comment(findings, contract.positive)
        lines.append(f"positive = {_quote(contract.positive)}{counted}")
    if contract.classes:
        lines.append(f"classes = {_list(contract.classes)}")
    for key in ("id_column", "time_column", "group_column"):
        value = getattr(contract, key)
        if value is not None:
            lines.append(f"{key} = {_quote(value)}")
    if contract.task == "clustering":
        lines.append("clusters = 0                         # 0: training chooses the number")
    if contract.task == "anomaly":
        lines.append("anomaly_share = 0.01                 # the share of rows called anomalies")
    return lines


def _count_comment(findings: Findings, name: str) -> str:
    total = sum(findings.classes.values())
    count = findings.classes.get(name, 0)
    return f"  # {count} of {total} rows" if total else ""


def _column_lines(contract: Contract, findings: Findings) -> list[str]:
    lines = [
        "# The model's inputs. Values beyond `min` or `max` are refused; ranges in comments were",
        "# only observed. `missing` says whether a value may be missing.",
        "[columns]",
    ]
    listed = {column.name: column for column in contract.columns}
    for found in findings.columns:
        if found.name in listed:
            lines.append(f"{_column_line(listed[found.name])}{_comment(found)}")
    for found in findings.columns:
        if found.role in ("id", "left out") and found.column is not None:
            reason = f"  # left out: {_one_line(found.warnings[0])}" if found.warnings else ""
            lines.append(f"# {_column_line(found.column)}{reason}")
    return lines


def _column_line(column: Column) -> str:
    members = [f"type = {_quote(column.type)}"]
    if column.categories and len(column.categories) <= MAX_LISTED_CATEGORIES:
        members.append(f"categories = {_list(column.categories)}")
    if column.missing:
        members.append("missing = true")
    return f"{_key(column.name)} = {{{', '.join(members)}}}"


def _comment(found: ColumnFinding) -> str:
    notes = []
    if found.low:
        notes.append(f"{found.low} to {found.high}")
    if found.missing:
        notes.append(f"{found.missing} missing")
    if found.column is not None and len(found.column.categories) > MAX_LISTED_CATEGORIES:
        notes.append(f"{found.distinct} values, learned at each training")
    notes += found.warnings
    return f"  # {_one_line('; '.join(notes))}" if notes else ""


def _split_lines(findings: Findings) -> list[str]:
    why = {
        "random": 'rows of the holdout are drawn at random; or "time", "order", "group"',
        "time": "the newest rows are the holdout",
        "order": 'the last rows are the holdout: the table seems to be in time order; or "random"',
        "group": "the holdout takes whole groups",
    }[findings.split]
    return [
        "[split]",
        f"strategy = {_quote(findings.split)}  # {why}",
        "holdout = 0.25",
        "seed = 7",
    ]


def _gate_lines(contract: Contract) -> list[str]:
    floor = {
        "binary": "minimum = {roc_auc = 0.55}",
        "multiclass": "minimum = {roc_auc = 0.55}",
        "regression": "minimum = {r2 = 0.0}",
        "anomaly": "minimum = {separation_auc = 0.55}",
        "clustering": "minimum = {silhouette = 0.05}",
    }.get(contract.task)
    lines = [
        "[gates]",
        'approval = "automatic"               # "manual": a person approves each model',
    ]
    if floor:
        lines.append(f"{floor:36} # on the holdout; raise it to what you need")
    return lines


_OTHER_TABLES = """\
[training]
time_budget_seconds = 600            # the search stops then and keeps the best
instance_type = "ml.m5.large"
spot = true                          # about 70% cheaper; may have to wait for capacity

[serving]
auth = "iam"                         # "api_key", or "open" (never in prod)
traffic_shift = "canary_10_percent_5_minutes"

[monitoring]
schedule_minutes = 60
false_alarms_per_year = 1.0          # the rate of false drift alarms to keep to
email = ""                           # receives the alarms

[retraining]
cool_down_hours = 24                 # between runs that drift alarms start
schedule = ""                        # e.g. "rate(7 days)"

[budget]
monthly_usd = 0                      # 0: no budget

# Settings of single stages; any key outside [project] can be set.

[stages.local.training]              # this machine: make demo, make up
spot = false
time_budget_seconds = 60

[stages.local.serving]
public_docs = true

[stages.local.capture]
buffer_seconds = 0

[stages.local.retraining]
debounce_seconds = 5

[stages.prod.gates]
approval = "manual"
"""


def _quote(text: str) -> str:
    """Write a TOML basic string; JSON's escapes are valid TOML, except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_quote, values))}]"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quote(name)


def _one_line(text: str) -> str:
    """Make a text safe for a TOML comment: one line, without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def show_findings(contract: Contract, findings: Findings) -> None:
    """Print one line per column, then the notes."""
    table = Table(title=_headline(contract, findings), title_justify="left", title_style="bold")
    for heading in ("column", "use", "type"):
        table.add_column(heading, no_wrap=True)
    for heading in ("missing", "distinct"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("range or examples", overflow="fold", min_width=10)  # shrinks first
    for found in findings.columns:
        cells = [
            _shorten(found.name, MAX_SHOWN_NAME),
            found.role,
            found.type,
            f"{found.missing:,}" if found.missing else "",
            f"{found.distinct:,}",
            _shorten(
                f"{found.low} .. {found.high}" if found.low else ", ".join(found.examples), 40
            ),
        ]
        table.add_row(*map(escape, cells), style=_ROLE_STYLE.get(found.role, ""))
    console.print(table)
    for found in findings.columns:
        for warning in found.warnings:
            console.print(
                f"[yellow]note[/yellow] [bold]{escape(found.name)}[/bold] {escape(warning)}"
            )
    for warning in findings.warnings:
        console.print(f"[yellow]note[/yellow] {escape(warning)}")


def _shorten(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _headline(contract: Contract, findings: Findings) -> str:
    goal = f" of {contract.target}" if contract.target else ""
    inputs = len(contract.columns)
    classes = ""
    if findings.classes:
        total = max(1, sum(findings.classes.values()))
        shares = [
            f"{name} {count / total:.1%}" for name, count in list(findings.classes.items())[:5]
        ]
        classes = f" ({', '.join(shares)}{', ...' if len(findings.classes) > 5 else ''})"
    return escape(
        f"{findings.rows:,} rows, {len(findings.columns)} columns: {contract.task}{goal}{classes}, "
        f"{inputs} inputs, {findings.split} split"
    )
