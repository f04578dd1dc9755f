"""Synthesise a stage in this process, with tiny assets, from settings given in the test."""

import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from aws_cdk import App

from core.settings import Settings, read_settings
from infra.assets import Asset, Packager, Target
from infra.stacks import make_stacks

ROOT = Path(__file__).resolve().parents[2]
CONTEXT: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]

DOCUMENT: dict[str, Any] = {
    "project": {"name": "churn"},
    "problem": {"task": "binary", "target": "churned"},
    "columns": {"age": {"type": "number"}},
}

Templates = dict[str, dict[str, Any]]


class TinyPackager(Packager):
    """Give each asset as a file that names it, its target and its requirements."""

    def __init__(self) -> None:
        """Keep the files in a folder of their own."""
        super().__init__(ROOT, build=Path(tempfile.mkdtemp()))

    def package_function(
        self, name: str, target: Target, requirements: str = "requirements.txt"
    ) -> Asset:
        path = self.build / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            entry = zipfile.ZipInfo("what.txt", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, f"{name} {target} {requirements}")
        return Asset(path, 1, 1)

    def package_source(self, settings_json: str, target: Target) -> Asset:
        path = self.build / "sourcedir.tar.gz"
        path.write_text(f"{settings_json} {target}")
        return Asset(path, 1, 1)


def settings_of(changes: Mapping[str, Any] | None = None, stage: str = "dev") -> Settings:
    """Read the document with these tables laid over it."""
    document = json.loads(json.dumps(DOCUMENT))
    for table, keys in (changes or {}).items():
        document.setdefault(table, {}).update(keys)
    return read_settings(document, stage)


def synthesise(
    settings: Settings, *, outdir: Path | None = None, packager: Packager | None = None
) -> Templates:
    """Give the templates by their part: training, serving, monitoring."""
    app = App(outdir=str(outdir) if outdir else None, context=CONTEXT, analytics_reporting=False)
    make_stacks(app, settings=settings, packager=packager or TinyPackager(), commit="c" * 40)
    folder = Path(app.synth().directory)
    return {
        part: json.loads((folder / f"{settings.deployment}-{part}.template.json").read_text())
        for part in ("training", "serving", "monitoring")
    }


def resources(templates: Templates, kind: str) -> dict[str, dict[str, Any]]:
    """Give the resources of one type, of all stacks, by their logical id."""
    return {
        name: resource
        for template in templates.values()
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def only(templates: Templates, kind: str) -> dict[str, Any]:
    """Give the properties of the one resource of this type."""
    (resource,) = resources(templates, kind).values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


class Resolver:
    """Evaluate intrinsics as a deployment would, with made-up names for what AWS names."""

    PSEUDO: ClassVar[dict[str, str]] = {
        "AWS::Region": "eu-west-1",
        "AWS::AccountId": "123456789012",
        "AWS::Partition": "aws",
        "AWS::URLSuffix": "amazonaws.com",
    }

    def __init__(self, templates: Templates) -> None:
        """Collect the exports of all stacks."""
        self._templates = templates
        self._exports = {
            output["Export"]["Name"]: (part, output["Value"])
            for part, template in templates.items()
            for output in template.get("Outputs", {}).values()
            if "Export" in output
        }

    def resolve(self, part: str, value: Any) -> Any:
        """Evaluate a value of a stack's template."""
        if isinstance(value, list):
            return [self.resolve(part, item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) != 1 or not next(iter(value)).startswith(("Ref", "Fn::")):
            return {key: self.resolve(part, item) for key, item in value.items()}
        ((function, argument),) = value.items()
        if function == "Fn::Join":
            return argument[0].join(str(self.resolve(part, item)) for item in argument[1])
        if function == "Fn::ImportValue":
            return self.resolve(*self._exports[argument])
        if function == "Fn::Sub":
            for name, text in self.PSEUDO.items():
                argument = argument.replace(f"${{{name}}}", text)
            return argument
        if function == "Fn::FindInMap":
            table, row, column = argument
            mapping = self._templates[part]["Mappings"][table]
            return mapping[self.resolve(part, row)][column]
        if function == "Fn::GetAtt":
            return f"arn:aws:of:eu-west-1:123456789012:{argument[0]}:{argument[1]}"
        return self._reference(part, argument)

    def _reference(self, part: str, name: str) -> str:
        if name in self.PSEUDO:
            return self.PSEUDO[name]
        template = self._templates[part]
        if name in template["Parameters"]:
            return str(template["Parameters"][name]["Default"])
        kind = template["Resources"][name]["Type"]
        if kind in ("AWS::SNS::Topic", "AWS::StepFunctions::StateMachine"):
            return f"arn:aws:of:eu-west-1:123456789012:{name}"
        return name.lower()
