"""Assets: what is in them, what they weigh, that they run, and that they repeat byte for byte."""

import importlib.util
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from infra.assets.errors import AssetError
from infra.assets.packager import Packager
from infra.assets.targets import container_target, host_target, lambda_target

ROOT = Path(__file__).resolve().parents[3]
FUNCTIONS = ("predict", "plan", "register", "promote", "canary", "monitor", "score")


@pytest.fixture(scope="module")
def packager() -> Packager:
    """Build from this tree, into the cache that `cdk synth` uses."""
    return Packager(ROOT, report=lambda line: None)


def small_project(folder: Path) -> Path:
    """Write a project of one function without dependencies."""
    for name, text in {
        "core/__init__.py": "",
        "core/sums.py": "def add(a, b):\n    return a + b\n",
        "lambdas/__init__.py": "",
        "lambdas/tiny/__init__.py": "",
        "lambdas/tiny/handler.py": "KINDS = {'a', 'b'}\n\n\ndef handler(event, context): ...\n",
        "lambdas/tiny/requirements.txt": "# none\n",
        "lambdas/other/handler.py": "",
        "training/train.py": "print('trained')\n",
        "training/requirements.txt": "# none\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


class TestContents:
    def test_a_function_carries_core_itself_and_its_dependencies(self, tmp_path: Path) -> None:
        """No other function, no source of the training side."""
        asset = Packager(small_project(tmp_path)).package_function("tiny", host_target())
        with zipfile.ZipFile(asset.path) as archive:
            names = {name for name in archive.namelist() if name.endswith(".py")}
        assert names == {
            "core/__init__.py",
            "core/sums.py",
            "lambdas/__init__.py",
            "lambdas/tiny/__init__.py",
            "lambdas/tiny/handler.py",
        }

    def test_bytecode_is_never_checked_against_its_source(self, tmp_path: Path) -> None:
        """PEP 552: flags 1 is an unchecked hash; anything else is compiled anew in /var/task."""
        asset = Packager(small_project(tmp_path)).package_function("tiny", host_target())
        tag = sys.implementation.cache_tag
        with zipfile.ZipFile(asset.path) as archive:
            code = archive.read(f"lambdas/tiny/__pycache__/handler.{tag}.pyc")
        assert code[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(code[4:8], "little") == 1
        assert b"/var/task/lambdas/tiny/handler.py" in code
        assert str(tmp_path).encode() not in code

    def test_a_missing_handler_is_refused(self, tmp_path: Path) -> None:
        """A misspelt folder must not become an asset that fails at its first call."""
        with pytest.raises(AssetError, match=r"lambdas/tinny/handler\.py does not exist"):
            Packager(small_project(tmp_path)).package_function("tinny", host_target())

    def test_a_missing_entry_point_is_refused(self, tmp_path: Path) -> None:
        """The same for the training source."""
        project = small_project(tmp_path)
        (project / "training/train.py").unlink()
        with pytest.raises(AssetError, match=r"training/train\.py does not exist"):
            Packager(project).package_source("{}", host_target())

    def test_the_source_opens_as_the_toolkit_opens_it(self, tmp_path: Path) -> None:
        """SageMaker's toolkit reads `r:gz`, and would pip install what a root file asks for."""
        asset = Packager(small_project(tmp_path)).package_source('{"a": 1}', host_target())
        with tarfile.open(asset.path, "r:gz") as archive:
            names = archive.getnames()
        assert {"core/sums.py", "training/train.py", "project.json"} <= set(names)
        assert not {"requirements.txt", "setup.py", "pyproject.toml"} & set(names)


class TestRepeats:
    def test_the_same_sources_give_the_same_bytes(self, tmp_path: Path) -> None:
        """Built in two folders, the zip and the archive are equal to the byte."""
        built = []
        for name in ("one", "two"):
            packager = Packager(small_project(tmp_path / name))
            zipped = packager.package_function("tiny", host_target()).path
            source = packager.package_source("{}", host_target()).path
            built.append((zipped.name, zipped.read_bytes(), source.name, source.read_bytes()))
        assert built[0] == built[1]

    def test_a_second_build_is_read_from_the_cache_and_a_change_is_not(
        self, tmp_path: Path
    ) -> None:
        """The key is what went in: same sources, same file; another line, another file."""
        lines: list[str] = []
        packager = Packager(small_project(tmp_path), report=lines.append)
        first = packager.package_function("tiny", host_target())
        second = packager.package_function("tiny", host_target())
        (tmp_path / "core/sums.py").write_text("def add(a, b):\n    return b + a\n")
        third = packager.package_function("tiny", host_target())
        assert first.path == second.path != third.path
        assert [line.endswith("(cached)") for line in lines] == [False, True, False]
        assert "MB unzipped" in lines[0]


class TestRealAssets:
    """Built from this tree; the first time takes the wheels from uv's cache or the registry."""

    @pytest.mark.parametrize(
        ("requirements", "limit_mb"), [("requirements.txt", 20), ("requirements-onnx.txt", 115)]
    )
    def test_predict_stays_within_its_budget(
        self, packager: Packager, requirements: str, limit_mb: int
    ) -> None:
        """Unzipped, for arm64: what a cold start has to load."""
        target = lambda_target("arm64", local=False)
        asset = packager.package_function("predict", target, requirements)
        assert asset.unzipped_bytes <= limit_mb * 1e6

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_the_handler_imports_from_the_asset_alone(
        self, packager: Packager, name: str, tmp_path: Path
    ) -> None:
        """Nothing of this project's environment is needed but boto3, which Lambda's runtime has."""
        asset = packager.package_function(name, host_target())
        with zipfile.ZipFile(asset.path) as archive:
            archive.extractall(tmp_path)
        runtime = str(Path(importlib.util.find_spec("boto3").origin).parents[1])  # type: ignore[union-attr, arg-type]
        program = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}]
import importlib.abc, importlib.machinery

class Runtime(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        allowed = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
        if name.split(".")[0] in allowed and path is None:
            return importlib.machinery.PathFinder.find_spec(name, [{runtime!r}])

sys.meta_path.append(Runtime())
import importlib
module = importlib.import_module("lambdas.{name}.handler")
print(callable(module.handler))
"""
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program],
            env={
                "AWS_REGION": "eu-west-1",
                "AWS_DEFAULT_REGION": "eu-west-1",
                **_environment(name),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.strip() == "True", done.stderr

    def test_the_source_leaves_out_what_the_container_has(self, packager: Packager) -> None:
        """Vendored beside the code: the converters and a newer protobuf; not numpy and its kin."""
        asset = packager.package_source("{}", container_target(local=False))
        with tarfile.open(asset.path, "r:gz") as archive:
            vendored = {name.split("/")[1] for name in archive.getnames() if "vendor/" in name}
        assert {"onnx", "onnxruntime", "skl2onnx", "pydantic", "google"} <= vendored
        assert not {"numpy", "scipy", "sklearn", "pandas", "pyarrow"} & vendored


def _environment(name: str) -> dict[str, str]:
    """Give a function the variables that its handler reads at import."""
    return {
        "DEPLOYMENT": "churn-dev",
        "MODEL_URI": "none",
        "LABELS_URI": "s3://bucket/labels/",
        "MAX_ROWS": "10",
        "CAPTURE_SAMPLE_RATE": "1",
        "CORS_ORIGINS": "",
        "ENGINE": "table",
        "BUCKET": "bucket",
        "SOURCE_URI": "s3://bucket/source.tar.gz",
        "SETTINGS_DIGEST": "0",
        "SERVING_STACK": "churn-dev-serving",
        "MODEL_PACKAGE_GROUP": "churn-dev",
        "COMMIT": name,
        "MIN_NEW_LABELS": "1",
        "COOL_DOWN_HOURS": "1",
        "INFERENCE_IMAGE": "image",
        "GATES": "{}",
        "APPROVAL": "automatic",
        "PREDICT_FUNCTION": "predict",
        "SETTINGS": '{"schedule_minutes": 60, "false_alarms_per_year": 1, "min_window_rows": 200}',
        "TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:topic",
        "RUNBOOK_URL": "docs/runbook",
    }
