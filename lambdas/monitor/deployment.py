"""The deployment that a monitor watches."""

from typing import NamedTuple


class Deployment(NamedTuple):
    """Its name, its stage, its bucket, and where its runbook's pages begin."""

    name: str
    stage: str
    bucket: str
    runbook: str
