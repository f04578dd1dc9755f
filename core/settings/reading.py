"""Reads project.toml, and lays the table of a stage over the rest."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.errors import SettingsError
from core.settings.definition import Settings
from core.settings.mistakes import explain, suggest

# Stages that need no table in the file: to try out, to run on this machine, to serve customers.
KNOWN_STAGES = ("dev", "local", "prod")


def load_settings(path: Path | str, stage: str | None = None) -> Settings:
    """Read project.toml and lay `[stages.STAGE]` over it.

    `stage` defaults to `[project] stage`. Raises SettingsError, one line naming the file and the
    key, for a file that is absent or not TOML, an unknown key, a value out of range, or an unknown
    stage.
    """
    file = Path(path)
    return read_settings(_read_toml(file), stage, file.name)


def read_settings(
    document: Mapping[str, Any], stage: str | None = None, source: str = "project.toml"
) -> Settings:
    """Do what `load_settings` does with a document that is already parsed."""
    base = {key: value for key, value in document.items() if key != "stages"}
    overrides = document.get("stages", {})
    if not isinstance(overrides, dict) or not all(isinstance(v, dict) for v in overrides.values()):
        raise SettingsError(
            f"{source}: [stages] holds a table a stage, as in [stages.prod.serving]"
        )
    project = base.get("project")
    default = project.get("stage", "dev") if isinstance(project, dict) else "dev"
    chosen = stage or (default if isinstance(default, str) else "dev")
    if chosen not in overrides and chosen not in (default, *KNOWN_STAGES):
        names = sorted({*overrides, *KNOWN_STAGES, str(default)})
        raise SettingsError(
            f"{source}: there is no stage {chosen!r}{suggest(chosen, names)}; "
            f"the stages are {', '.join(names)}; add [stages.{chosen}] to make it one"
        )
    for other in overrides:
        if other != chosen:
            _resolve(base, overrides[other], other, source)
    return _resolve(base, overrides.get(chosen, {}), chosen, source)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"{file}: there is no such file; `python -m ops init TABLE` writes one"
        ) from error
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: is not TOML: {error}") from error


def _resolve(
    base: Mapping[str, Any], override: Mapping[str, Any], stage: str, source: str
) -> Settings:
    if "project" in override:
        raise SettingsError(f"{source}: [stages.{stage}.project]: a stage cannot set this table")
    document = _lay_over(base, override)
    project = document.get("project")
    if isinstance(project, dict):
        document["project"] = {**project, "stage": stage}
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise SettingsError(explain(error, Settings, source, override, stage)) from error


def _lay_over(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Replace values by the override's, table by table; a list is replaced whole."""
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _lay_over(below, value) if both else value  # type: ignore[arg-type]
    return merged
