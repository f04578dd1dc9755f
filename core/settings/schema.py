"""The JSON Schema of project.toml, for editors."""

import json
from typing import Any

from core.settings.definition import Settings


def settings_schema() -> dict[str, Any]:
    """Describe project.toml as a JSON Schema, for editors (`#:schema project.schema.json`)."""
    schema = Settings.model_json_schema()
    definitions = schema["$defs"]
    stage = {
        "type": "object",
        "description": "Lays its keys over those of the file, for this stage.",
        "additionalProperties": False,
        "properties": {
            name: value for name, value in schema["properties"].items() if name != "project"
        },
    }
    definitions["Stage"] = _without_required(stage)
    for name in ("ProblemStatement", "ColumnSettings"):
        definitions[f"Stage{name}"] = _without_required(definitions[name])
    text = json.dumps(definitions["Stage"])
    text = text.replace("#/$defs/ProblemStatement", "#/$defs/StageProblemStatement")
    text = text.replace("#/$defs/ColumnSettings", "#/$defs/StageColumnSettings")
    definitions["Stage"] = json.loads(text)
    schema["properties"]["stages"] = {
        "type": "object",
        "description": "What differs in a stage: [stages.prod.serving] and so on.",
        "additionalProperties": {"$ref": "#/$defs/Stage"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "project.toml",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _without_required(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "required"}
