"""The templates: one pointer, typed environments, checks, determinism, names."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cfnlint.api
import pytest
from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks
from cfnlint.config import ManualArgs
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from core.errors import DriftlessError
from infra.stacks import make_stacks
from tests.infra.synthesis import (
    CONTEXT,
    ROOT,
    Resolver,
    Templates,
    TinyPackager,
    only,
    resources,
    settings_of,
    synthesise,
)


def references(value: Any, name: str) -> bool:
    """Say whether a value refers to a parameter or resource."""
    if isinstance(value, dict):
        if value.get("Ref") == name or (value.get("Fn::GetAtt") or [""])[0] == name:
            return True
        return any(references(item, name) for item in value.values())
    return isinstance(value, list) and any(references(item, name) for item in value)


def replaced_by_change_of(template: dict[str, Any], name: str) -> set[str]:
    """Give the resources that a new value of a parameter replaces, by the types' own schemas."""
    replaced: set[str] = set()
    changed = {name}
    while changed:
        source = changed.pop()
        for logical_id, resource in template["Resources"].items():
            schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource["Type"])
            create_only = {
                path.split("/")[2] for path in schema.schema.get("createOnlyProperties", [])
            }
            for key, value in resource.get("Properties", {}).items():
                if key in create_only and references(value, source) and logical_id not in replaced:
                    replaced.add(logical_id)
                    changed.add(logical_id)  # who refers to it now sees another name
    return replaced


def minds(environment: Any, variables: dict[str, str], variable: str) -> bool:
    """Say whether a function refuses to start without a variable, or with nonsense in it."""
    fewer = {key: value for key, value in variables.items() if key != variable}
    for altered in (fewer, {**variables, variable: "?"}):
        try:
            environment.read(altered)
        except (DriftlessError, ValueError) as error:
            return variable.lower() in str(error).lower()
    return False


def versions_watched(alarm: dict[str, Any]) -> list[Any]:
    """Give the versions that an alarm's metrics are of."""
    metrics = [q["MetricStat"]["Metric"] for q in alarm.get("Metrics", ()) if "MetricStat" in q]
    dimensions = [d for metric in [alarm, *metrics] for d in metric.get("Dimensions", ())]
    return [d["Value"] for d in dimensions if d["Name"] in ("ExecutedVersion", "Version")]


class TestOnePointer:
    def test_a_new_model_replaces_the_version_and_nothing_else(self, templates: Templates) -> None:
        """Its `Description` is create-only; with it go the alarms that watch this version alone.

        Those carry its number in their names: one that merely changed would keep the state that
        the old version gave it, and CodeDeploy refuses to begin while it rings.
        """
        serving = templates["serving"]
        (version,) = resources({"serving": serving}, "AWS::Lambda::Version")
        replaced = replaced_by_change_of(serving, "ModelUri")
        (group,) = resources({"serving": serving}, "AWS::CodeDeploy::DeploymentGroup").values()
        guards = group["Properties"]["AlarmConfiguration"]["Alarms"]
        assert replaced == {version, *(guard["Name"]["Ref"] for guard in guards)}
        number = {"Fn::GetAtt": [version, "Version"]}
        for guard in guards:
            given = serving["Resources"][guard["Name"]["Ref"]]["Properties"]
            assert given["AlarmName"]["Fn::Join"][1][-1] == number
            assert number in versions_watched(given)

    def test_how_traffic_moves_changes_the_deployment_group_alone(
        self, templates: Templates
    ) -> None:
        """A rollback shifts at once, a promotion as the setting says; the alias moves after it."""
        serving = templates["serving"]
        assert replaced_by_change_of(serving, "TrafficShift") == set()
        parameter = serving["Parameters"]["TrafficShift"]
        assert parameter["Default"] == "gradual"
        ((name, condition),) = serving["Conditions"].items()
        assert condition == {"Fn::Equals": [{"Ref": "TrafficShift"}, "at_once"]}
        assert json.dumps(serving).count(f'"{name}"') == 2, "the condition and its one use"
        ((group, given),) = resources(templates, "AWS::CodeDeploy::DeploymentGroup").items()
        assert given["Properties"]["DeploymentConfigName"] == {
            "Fn::If": [
                name,
                "CodeDeployDefault.LambdaAllAtOnce",
                "CodeDeployDefault.LambdaCanary10Percent5Minutes",
            ]
        }
        (alias,) = resources(templates, "AWS::Lambda::Alias").values()
        assert group in alias["DependsOn"]

    def test_the_environment_and_the_description_refer_to_the_parameter(
        self, templates: Templates
    ) -> None:
        """One value, twice: what runs is what the version says it is."""
        pointer = {"Ref": "ModelUri"}
        assert only(templates, "AWS::Lambda::Version")["Description"] == pointer
        using = [
            function
            for function in resources(templates, "AWS::Lambda::Function").values()
            if function["Properties"]["Environment"]["Variables"].get("MODEL_URI") == pointer
        ]
        assert len(using) == 1

    def test_the_parameter_holds_what_a_description_can(self, templates: Templates) -> None:
        """A version's description has at most 256 characters."""
        parameter = templates["serving"]["Parameters"]["ModelUri"]
        pattern = re.compile(parameter["AllowedPattern"])
        assert parameter["Default"] == "none"
        assert parameter["MaxLength"] == 256
        assert pattern.match("none")
        assert pattern.match(
            "s3://bucket.name/models/churn-dev-20261121-021500-abcdef/output/model/"
        )
        assert not pattern.match("s3://bucket/models/run")
        assert not pattern.match("")

    def test_the_alias_moves_under_codedeploy_after_the_alarms_watch(
        self, templates: Templates
    ) -> None:
        """The traffic shift has its hook and alarms on the new version before it begins."""
        (alias,) = resources(templates, "AWS::Lambda::Alias").values()
        policy = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        group = only(templates, "AWS::CodeDeploy::DeploymentGroup")
        alarms = [
            next(iter(alarm["Name"].values())) for alarm in group["AlarmConfiguration"]["Alarms"]
        ]
        assert set(policy) == {"ApplicationName", "BeforeAllowTrafficHook", "DeploymentGroupName"}
        assert len(alarms) == 3
        assert set(alarms) <= set(alias["DependsOn"])
        (version,) = resources(templates, "AWS::Lambda::Version")
        for name in alarms:
            given = templates["serving"]["Resources"][name]["Properties"]
            assert {"Fn::GetAtt": [version, "Version"]} in versions_watched(given)


class TestEnvironments:
    @pytest.mark.parametrize("stage", ["dev", "local", "prod"])
    def test_every_function_reads_the_environment_it_is_given(self, stage: str) -> None:
        """`env.py` of each function accepts what the template sets, in every stage."""
        given = synthesise(settings_of({"serving": {"cors_origins": ["https://a.example"]}}, stage))
        resolver = Resolver(given)
        seen = set()
        for part, template in given.items():
            for resource in resources({part: template}, "AWS::Lambda::Function").values():
                properties = resource["Properties"]
                name = properties["Handler"].split(".")[1]
                variables = resolver.resolve(part, properties["Environment"]["Variables"])
                module = importlib.import_module(f"lambdas.{name}.env")
                environment = module.Environment.read(variables)
                assert environment.deployment == f"churn-{stage}"
                seen.add(name)
        assert seen == {"predict", "plan", "register", "promote", "canary", "monitor", "score"}

    def test_every_variable_has_a_reader(self, templates: Templates) -> None:
        """Each function misses a variable, or minds what it says: none is set for nobody."""
        resolver = Resolver(templates)
        for part, template in templates.items():
            for resource in resources({part: template}, "AWS::Lambda::Function").values():
                properties = resource["Properties"]
                name = properties["Handler"].split(".")[1]
                module = importlib.import_module(f"lambdas.{name}.env")
                variables = resolver.resolve(part, properties["Environment"]["Variables"])
                for variable in variables:
                    assert minds(module.Environment, variables, variable), (name, variable)


class TestChecks:
    @pytest.mark.parametrize(
        ("stage", "changes"),
        [
            ("prod", {"serving": {"auth": "api_key"}, "budget": {"monthly_usd": 20}}),
            (
                "local",
                {
                    "serving": {"cors_origins": ["*"], "public_docs": True, "auth": "open"},
                    "training": {"search": {"parallel_jobs": 4}, "spot": False},
                    "retraining": {"schedule": "rate(7 days)"},
                    "monitoring": {"email": "team@example.com"},
                },
            ),
        ],
    )
    def test_nag_and_cfn_lint_are_clean(
        self, stage: str, changes: dict[str, Any], tmp_path: Path
    ) -> None:
        """AwsSolutions finds nothing that is not acknowledged; cfn-lint finds nothing at all."""
        settings = settings_of(changes, stage)
        app = App(outdir=str(tmp_path), context=CONTEXT, analytics_reporting=False)
        make_stacks(app, settings=settings, packager=TinyPackager(), commit="c" * 40)
        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
        app.synth()  # raises where a finding is left
        for path in sorted(tmp_path.glob("*.template.json")):
            # W3005: the CDK orders a function after its whole role, policy included.
            # W6001: an output may repeat another stack's, so that a reader finds it in this one.
            found = cfnlint.api.lint(
                path.read_text(),
                config=ManualArgs(regions=["eu-west-1"], ignore_checks=["W3005", "W6001"]),
            )
            assert [f"{path.name}: {match}" for match in found] == []

    def test_the_same_input_gives_the_same_bytes(self, tmp_path: Path) -> None:
        """Two syntheses of the same settings differ in no byte of any template."""
        for name in ("one", "two"):
            synthesise(settings_of(), outdir=tmp_path / name)
        paths = sorted(path.name for path in (tmp_path / "one").glob("*.template.json"))
        assert len(paths) == 3
        for name in paths:
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_the_order_of_a_set_changes_no_byte(self, tmp_path: Path) -> None:
        """Two processes with other hash seeds write the same templates."""
        program = (
            "import sys; from pathlib import Path; "
            "from tests.infra.synthesis import settings_of, synthesise; "
            "synthesise(settings_of(), outdir=Path(sys.argv[1]))"
        )
        for seed in ("1", "2"):
            subprocess.run(
                [sys.executable, "-c", program, str(tmp_path / seed)],
                cwd=ROOT,
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                check=True,
            )
        paths = sorted(path.name for path in (tmp_path / "1").glob("*.template.json"))
        assert len(paths) == 3
        for name in paths:
            assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()

    def test_no_custom_resources_and_no_foreign_account(self, templates: Templates) -> None:
        """Everything is a plain AWS resource, and no template names an account or a region."""
        for template in templates.values():
            kinds = {resource["Type"] for resource in template["Resources"].values()}
            assert not [k for k in kinds if k.startswith(("Custom::", "AWS::CloudFormation::"))]
            body = json.dumps({**template, "Mappings": {}})
            assert not re.search(r"\b\d{12}\b", body)
            assert str(ROOT) not in body


class TestNames:
    def test_outputs_are_those_that_the_commands_read(self, templates: Templates) -> None:
        """Outputs without an export have the names that `ops` and `local` look up."""
        named = {
            part: {name for name in template["Outputs"] if not name.startswith("Export")}
            for part, template in templates.items()
        }
        assert named == {
            "training": {
                "BucketName",
                "StateMachineArn",
                "ModelPackageGroupName",
                "NotificationTopicArn",
            },
            "serving": {
                "ApiUrl",
                "PredictFunctionName",
                "PromoteFunctionName",
                "ModelUri",
                "ScoringMachineArn",
                "ScoringRoleArn",
                "ScoringMachineRoleArn",
            },
            "monitoring": {"DashboardName", "MonitorFunctionName", "ReportsUri"},
        }

    def test_everything_that_can_carries_the_tags(self, templates: Templates) -> None:
        """Cost and clean-up find this deployment by its tags."""
        for kind in ("AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::ApiGateway::RestApi"):
            for resource in resources(templates, kind).values():
                tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"]["Tags"]}
                assert tags == {"project": "churn", "stage": "dev", "deployment": "churn-dev"}

    def test_data_outlives_production_only(self) -> None:
        """A prod stage keeps its bucket, registry and logs; another leaves nothing behind."""
        for stage, policy in (("dev", "Delete"), ("prod", "Retain")):
            given = synthesise(settings_of(stage=stage))
            kept = {
                resource["Type"]
                for template in given.values()
                for resource in template["Resources"].values()
                if "Retain" in (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
            }
            assert bool(kept) == (stage == "prod"), kept
            for kind in (
                "AWS::S3::Bucket",
                "AWS::SageMaker::ModelPackageGroup",
                "AWS::Logs::LogGroup",
                "AWS::KMS::Key",
                "AWS::Lambda::Version",
                "AWS::ApiGateway::Account",
            ):
                for resource in resources(given, kind).values():
                    assert resource["DeletionPolicy"] == policy, (stage, kind)
