"""Prints the JSON Schema of project.toml: `python -m core.settings > project.schema.json`."""

import json
import sys

from core.settings.schema import settings_schema

sys.stdout.write(json.dumps(settings_schema(), indent=1) + "\n")
