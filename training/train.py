"""The training job: read, check, split, search, fit, evaluate, compare, export, save.

The same code is SageMaker's entry point (folders and settings from the container's environment) and
`python -m training.train --local DIR` (DIR holds project.toml and the table that it names; the
bundle lands in DIR/models/<run>/, and its path is the last line printed). Ends with exit code 0 and
a whole bundle, or with exit code 1, one clear message in the `failure` file, and no bundle.
"""

import sys
import time
from pathlib import Path

STARTED = time.monotonic()
ROOT = Path(__file__).resolve().parent.parent

# The container's own protobuf is too old for ONNX, so what the asset vendors comes first; the
# folder of this script goes, or `import metrics` anywhere would find ours.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT / "training"]
sys.path.insert(0, str(ROOT))
if (ROOT / "vendor").is_dir():
    sys.path.insert(0, str(ROOT / "vendor"))

import argparse  # noqa: E402
import os  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Sequence  # noqa: E402

from core import bundle as files  # noqa: E402
from core.bundle import write_bundle  # noqa: E402
from core.errors import DriftlessError  # noqa: E402
from training import jobs  # noqa: E402
from training.data.dataset import read_data  # noqa: E402
from training.data.holdout import list_seen, split_data  # noqa: E402
from training.documents import to_json  # noqa: E402
from training.export.artifacts import dump_model, export_with_proof  # noqa: E402
from training.fit.model import fit_model  # noqa: E402
from training.fit.selection import choose_model  # noqa: E402
from training.jobs import Job  # noqa: E402
from training.judge.comparison import compare_with_champion  # noqa: E402
from training.judge.doubting import find_doubts  # noqa: E402
from training.judge.evaluation import evaluate_model  # noqa: E402
from training.judge.references import build_baseline, choose_golden_rows  # noqa: E402
from training.judge.report import write_report  # noqa: E402
from training.judge.summary import describe_evaluation  # noqa: E402
from training.lineage import describe_lineage  # noqa: E402
from training.log import Log  # noqa: E402


def train(job: Job, log: Log) -> Path:
    """Run the job; gives the folder of the bundle."""
    with log.timed("read"):
        data = read_data(job, log)
    with log.timed("split"):
        split = split_data(job, data, log)
    with log.timed("search"):
        chosen = choose_model(job, data, split, log)
    with log.timed("fit"):
        model = fit_model(job, data, split, chosen, log)
    with log.timed("export"):
        exported = export_with_proof(data, split, model, log)
    with log.timed("evaluate"):
        evaluated = evaluate_model(job, data, split, chosen, model, log)
    with log.timed("compare"):
        compared = compare_with_champion(job, data, split, chosen, model, evaluated, log)
    with log.timed("doubt"):
        doubts = find_doubts(job, data, split, chosen, model, evaluated, compared, log)
    with log.timed("baseline"):
        baseline = build_baseline(data, split, model)
        golden = choose_golden_rows(data, split, model)
    evaluation = describe_evaluation(
        job, data, split, chosen, model, exported, evaluated, compared, doubts
    )
    with log.timed("report"):
        report = write_report(job, data, evaluation)
    content = {
        files.MODEL: exported.model_json,
        files.ONNX: exported.onnx,
        files.JOBLIB: dump_model(model),
        files.CONTRACT: model.contract.to_json(),
        files.BASELINE: baseline,
        files.EVALUATION: to_json(evaluation),
        files.GOLDEN: to_json(golden),
        files.REPORT: report,
        files.SEEN: list_seen(job, data, split),
    }
    content |= data.entity_files
    content[files.LINEAGE] = to_json(describe_lineage(job, data, content, log))
    write_bundle(job.output, content)
    log.say(f"decision: {evaluation['decision']['reason']}")
    for doubt in evaluation["doubts"]:
        if not doubt["accepted"]:
            log.say(f"doubt {doubt['name']}: {doubt['sentence']}")
    return job.output


def main(arguments: Sequence[str] | None = None, started: float | None = None) -> int:
    """Run as a command; gives the exit code. The time budget counts from `started`, or from now."""
    options = _read_arguments(arguments)
    failure = None if options.local else jobs.failure_file(os.environ)
    log = Log(time.monotonic() if started is None else started)
    try:
        if options.local:
            champion = Path(options.champion) if options.champion else None
            job = jobs.read_folder(
                Path(options.local), champion=champion, trigger=options.trigger, stage=options.stage
            )
        else:
            job = jobs.read_container(os.environ, ROOT)
        print(train(job, log), flush=True)
        return 0
    except DriftlessError as error:
        return _fail(str(error), failure)
    except MemoryError:
        return _fail("out of memory: use a larger [training] instance_type or fewer rows", failure)
    except OSError as error:
        return _fail(f"cannot read or write a file: {error}", failure)
    except Exception as error:
        traceback.print_exc()
        return _fail(f"unexpected {type(error).__name__}: {error}", failure)


def _fail(message: str, failure: Path | None) -> int:
    """Leave the reason where SageMaker looks for it, and as the last lines of the log."""
    if failure is not None:
        try:
            failure.parent.mkdir(parents=True, exist_ok=True)
            failure.write_text(message + "\n", encoding="utf-8")
        except OSError as error:
            print(f"cannot write {failure}: {error}", file=sys.stderr)
    print(f"training failed: {message}", file=sys.stderr, flush=True)
    return 1


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.train", description="Train a model.")
    parser.add_argument(
        "--local", metavar="DIR", help="folder with project.toml, instead of SageMaker's"
    )
    parser.add_argument("--champion", metavar="BUNDLE", help="folder of the model to compare with")
    parser.add_argument(
        "--trigger", choices=jobs.TRIGGERS, default="manual", help="why this run started"
    )
    parser.add_argument("--stage", help="stage of project.toml")
    # SageMaker repeats the job's hyperparameters as arguments; they are read from the environment.
    return parser.parse_known_args(arguments)[0]


if __name__ == "__main__":
    sys.exit(main(started=STARTED))
