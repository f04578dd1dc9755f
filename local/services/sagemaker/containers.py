"""The SageMaker training container's contract: folders, configuration files, variables, command.

Sources: Amazon SageMaker Developer Guide, "How Amazon SageMaker Provides Training Information", and
the sagemaker-training toolkit 4.8 that the scikit-learn container carries.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = "/opt/ml"
HOST = "algo-1"
GROUP = "homogeneousCluster"
# Variables of this machine that are passed on to the script.
INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "SYSTEMROOT", "TMPDIR", "TZ")


class ContainerError(RuntimeError):
    """Say why a job's container cannot start."""


@dataclass(frozen=True)
class Container:
    """One job's folders, shaped as `/opt/ml`, and how its script is started."""

    root: Path
    job_name: str
    hyperparameters: Mapping[str, str]
    channels: Mapping[str, Mapping[str, Any]]
    instance_type: str

    @property
    def input(self) -> Path:
        """Where configuration and channels are."""
        return self.root / "input"

    @property
    def model(self) -> Path:
        """What the script leaves here is the job's model."""
        return self.root / "model"

    @property
    def output(self) -> Path:
        """Where the failure file and further output go."""
        return self.root / "output"

    @property
    def code(self) -> Path:
        """Where the source archive is unpacked: the code root."""
        return self.root / "code"

    @property
    def failure(self) -> Path:
        """What the script wrote of its failure."""
        return self.output / "failure"

    def place(self, path: str) -> str:
        """Return where a path under `/opt/ml` is on this machine; other paths as they are."""
        if path == ROOT or path.startswith(ROOT + "/"):
            return str(self.root) + path[len(ROOT) :]
        return path

    def channel(self, name: str) -> Path:
        """Return a channel's folder."""
        return self.input / "data" / name

    def prepare(self) -> None:
        """Make the folders and write the configuration files."""
        shutil.rmtree(self.root, ignore_errors=True)
        for folder in (
            self.input / "config",
            self.input / "data",
            self.model,
            self.output / "data",
            self.code,
        ):
            folder.mkdir(parents=True)
        for name in self.channels:
            self.channel(name).mkdir()
        files: dict[str, Any] = {
            "hyperparameters.json": {n: self._placed(v) for n, v in self.hyperparameters.items()},
            "inputdataconfig.json": {
                name: {
                    "TrainingInputMode": str(channel.get("InputMode") or "File"),
                    "S3DistributionType": _source(channel).get(
                        "S3DataDistributionType", "FullyReplicated"
                    ),
                    "RecordWrapperType": channel.get("RecordWrapperType") or "None",
                }
                for name, channel in self.channels.items()
            },
            "resourceconfig.json": self._resources(),
        }
        for file, content in files.items():
            (self.input / "config" / file).write_text(json.dumps(content))

    def decoded(self) -> dict[str, Any]:
        """Return the hyperparameters as the toolkit reads them: JSON where it is JSON."""
        return {name: _decode(self._placed(value)) for name, value in self.hyperparameters.items()}

    def unpack(self) -> None:
        """Unpack the source archive into the code root, as the toolkit does (`r:gz`)."""
        submitted = self.decoded().get("sagemaker_submit_directory")
        if not submitted:
            raise ContainerError(
                "the hyperparameter sagemaker_submit_directory is missing: it names the source"
                " archive, in a channel's folder under /opt/ml/input/data/"
            )
        archive = Path(str(submitted))
        if archive.is_dir():
            shutil.copytree(archive, self.code, dirs_exist_ok=True)
            return
        if not archive.is_file():
            asked = _decode(self.hyperparameters["sagemaker_submit_directory"])
            raise ContainerError(
                f"sagemaker_submit_directory is {asked}, where no channel has put a file"
            )
        try:
            with tarfile.open(archive, "r:gz") as tar:
                tar.extractall(self.code, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise ContainerError(
                f"cannot unpack the source archive {archive.name}: {error}"
            ) from error

    def command(self) -> list[str]:
        """Return the command that runs the entry script in the code root."""
        program = str(self.decoded().get("sagemaker_program") or "")
        if not program:
            raise ContainerError(
                "the hyperparameter sagemaker_program is missing: it names the script"
            )
        if not (self.code / program).is_file():
            raise ContainerError(f"sagemaker_program is {program}, which the source archive lacks")
        return [sys.executable, program, *self._arguments()]

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of the script's process: the toolkit's own, then `extra`."""
        decoded = self.decoded()
        framework = {n: v for n, v in decoded.items() if n.startswith("sagemaker_")}
        user = self._user_hyperparameters()
        program = str(framework.get("sagemaker_program", ""))
        channels = sorted(self.channels)
        resources = self._resources()
        input_config = json.loads((self.input / "config" / "inputdataconfig.json").read_text())
        variables: dict[str, Any] = {
            "SM_CHANNELS": channels,
            "SM_CURRENT_HOST": HOST,
            "SM_CURRENT_INSTANCE_GROUP": GROUP,
            "SM_CURRENT_INSTANCE_GROUP_HOSTS": [HOST],
            "SM_CURRENT_INSTANCE_TYPE": self.instance_type,
            "SM_FRAMEWORK_MODULE": "sagemaker_sklearn_container.training:main",
            "SM_FRAMEWORK_PARAMS": framework,
            "SM_HOSTS": [HOST],
            "SM_HPS": user,
            "SM_INPUT_CONFIG_DIR": str(self.input / "config"),
            "SM_INPUT_DATA_CONFIG": input_config,
            "SM_INPUT_DIR": str(self.input),
            "SM_INSTANCE_GROUPS": [GROUP],
            "SM_INSTANCE_GROUPS_DICT": {GROUP: resources["instance_groups"][0]},
            "SM_IS_HETERO": False,
            "SM_LOG_LEVEL": int(framework.get("sagemaker_container_log_level", 20)),
            "SM_MODEL_DIR": str(self.model),
            "SM_MODULE_DIR": str(framework.get("sagemaker_submit_directory", "")),
            "SM_MODULE_NAME": program.removesuffix(".py"),
            "SM_NETWORK_INTERFACE_NAME": "eth0",
            "SM_NUM_CPUS": os.cpu_count() or 1,
            "SM_NUM_GPUS": 0,
            "SM_NUM_NEURONS": 0,
            "SM_OUTPUT_DATA_DIR": str(self.output / "data"),
            "SM_OUTPUT_DIR": str(self.output),
            "SM_OUTPUT_INTERMEDIATE_DIR": str(self.output / "intermediate"),
            "SM_RESOURCE_CONFIG": resources,
            "SM_USER_ARGS": self._arguments(),
            "SM_USER_ENTRY_POINT": program,
        }
        variables["SM_TRAINING_ENV"] = {
            "additional_framework_parameters": framework,
            "channel_input_dirs": {name: str(self.channel(name)) for name in channels},
            "current_host": HOST,
            "hosts": [HOST],
            "hyperparameters": user,
            "input_config_dir": str(self.input / "config"),
            "input_data_config": input_config,
            "input_dir": str(self.input),
            "job_name": self.job_name,
            "model_dir": str(self.model),
            "module_dir": variables["SM_MODULE_DIR"],
            "module_name": variables["SM_MODULE_NAME"],
            "num_cpus": variables["SM_NUM_CPUS"],
            "num_gpus": 0,
            "output_data_dir": str(self.output / "data"),
            "output_dir": str(self.output),
            "resource_config": resources,
            "user_entry_point": program,
        }
        for name in channels:
            variables[f"SM_CHANNEL_{name.upper()}"] = str(self.channel(name))
        for name, value in user.items():
            variables[f"SM_HP_{name.upper()}"] = value
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= {name: _encode(value) for name, value in variables.items()}
        return environment | {
            "PYTHONPATH": str(self.code),
            "PYTHONUNBUFFERED": "1",
            "SAGEMAKER_BASE_DIR": str(self.root),
            "TRAINING_JOB_NAME": self.job_name,
            **extra,
        }

    def _user_hyperparameters(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.decoded().items()
            if not name.startswith(("sagemaker_", "_tuning_objective_metric"))
        }

    def _arguments(self) -> list[str]:
        arguments: list[str] = []
        for name, value in self._user_hyperparameters().items():
            arguments += [f"-{name}" if len(name) == 1 else f"--{name}", _encode(value)]
        return arguments

    def _placed(self, value: str) -> str:
        decoded = _decode(value)
        if isinstance(decoded, str) and decoded != self.place(decoded):
            return json.dumps(self.place(decoded))
        return value

    def _resources(self) -> dict[str, Any]:
        group = {
            "instance_group_name": GROUP,
            "instance_type": self.instance_type,
            "hosts": [HOST],
        }
        return {
            "current_group_name": GROUP,
            "current_host": HOST,
            "current_instance_type": self.instance_type,
            "hosts": [HOST],
            "instance_groups": [group],
            "network_interface_name": "eth0",
        }


def failure_message(container: Container, command: Sequence[str], code: int, tail: str) -> str:
    """Return a failed script's reason: its failure file, else what the toolkit writes for it."""
    if container.failure.is_file() and (text := container.failure.read_text(errors="replace")):
        return f"AlgorithmError: {text.strip()}, exit code: {code}"
    shown = " ".join(["python", *command[1:]])
    return (
        f'AlgorithmError: ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "{tail.strip()}"\n'
        f'Command "{shown}", exit code: {code}'
    )


def _source(channel: Mapping[str, Any]) -> Mapping[str, Any]:
    source: Mapping[str, Any] = (channel.get("DataSource") or {}).get("S3DataSource") or {}
    return source


def _decode(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _encode(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
