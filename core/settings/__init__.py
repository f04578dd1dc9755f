"""project.toml as frozen, validated models.

`load_settings` reads the file, lays `[stages.NAME]` over the rest, and gives one stage's settings.
Every stage in the file is checked each time, so that a mistake under `[stages.prod]` shows before
it counts.
"""

from core.settings.definition import Settings
from core.settings.metrics import METRICS
from core.settings.reading import load_settings, read_settings
from core.settings.schema import settings_schema

__all__ = [
    "METRICS",
    "Settings",
    "load_settings",
    "read_settings",
    "settings_schema",
]
