"""The CDK app: read the settings of a stage, make its three stacks, check them, synthesise."""

import sys
from pathlib import Path

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from core.errors import DriftlessError
from core.settings import load_settings
from infra.assets import Packager
from infra.deployment import read_commit
from infra.stacks import make_stacks

ROOT = Path(__file__).resolve().parent


def main() -> None:
    """Synthesise the stage that `-c stage=NAME` picks, from project.toml or `-c project=FILE`."""
    app = App()
    file = ROOT / (app.node.try_get_context("project") or "project.toml")
    settings = load_settings(file, app.node.try_get_context("stage"))
    make_stacks(app, settings=settings, packager=Packager(ROOT), commit=read_commit(ROOT))
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()


if __name__ == "__main__":
    try:
        main()
    except DriftlessError as error:
        sys.exit(f"driftless: {error}")
