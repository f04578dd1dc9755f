"""Deploy a cloud assembly as `cdk deploy` does: publish the assets, then the stacks in order."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from local.host import Host
from local.services.cloudformation.stacks import Stacks

TOOLKIT = "CDKToolkit"
QUALIFIER = "hnb659fds"
FIXED_TIME = (1980, 1, 1, 0, 0, 0)


class StackHost(Host, Protocol):
    """A cloud with stacks."""

    @property
    def stacks(self) -> Stacks:
        """The stacks of the account."""


class DeployError(Exception):
    """An assembly could not be deployed: which stack or asset, and why."""


@dataclass(frozen=True)
class StackArtifact:
    """One stack of an assembly."""

    id: str
    name: str
    template: Path
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    dependencies: tuple[str, ...]


class Assembly:
    """A synthesised cloud assembly (`cdk.out`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = folder / "manifest.json"
        if not manifest.is_file():
            raise DeployError(f"{folder} is no cloud assembly: it has no manifest.json (run synth)")
        self._artifacts: dict[str, Any] = json.loads(manifest.read_text())["artifacts"]

    def stacks(self) -> list[StackArtifact]:
        """Return the stacks, each after those that it depends on."""
        found = {
            name: StackArtifact(
                name,
                body["properties"].get("stackName", name),
                self.folder / body["properties"]["templateFile"],
                body["properties"].get("parameters", {}),
                body["properties"].get("tags", {}),
                tuple(body.get("dependencies", ())),
            )
            for name, body in self._artifacts.items()
            if body["type"] == "aws:cloudformation:stack"
        }
        order: list[StackArtifact] = []

        def visit(name: str) -> None:
            stack = found.get(name)
            if stack is None or stack in order:
                return
            for other in stack.dependencies:
                visit(other)
            order.append(stack)

        for name in found:
            visit(name)
        return order

    def assets(self, artifact_id: str) -> Iterator[tuple[Path, str, str, str]]:
        """Yield a stack's file assets: source, packaging, bucket, key."""
        for other in self._artifacts[artifact_id].get("dependencies", ()):
            body = self._artifacts[other]
            if body["type"] != "cdk:asset-manifest":
                continue
            manifest = json.loads((self.folder / body["properties"]["file"]).read_text())
            if manifest.get("dockerImages"):
                raise DeployError(f"{other} holds Docker images, which have no place here")
            for asset in manifest.get("files", {}).values():
                source = asset["source"]
                if "path" not in source:
                    raise DeployError(f"{other} holds an asset that only a command can build")
                for destination in asset["destinations"].values():
                    yield (
                        self.folder / source["path"],
                        source.get("packaging", "file"),
                        destination["bucketName"],
                        destination["objectKey"],
                    )


class Deployment:
    """One deployment of an assembly to a local cloud, through the public APIs."""

    def __init__(self, cloud: StackHost, folder: Path) -> None:
        self._cloud = cloud
        self._assembly = Assembly(Path(folder).resolve())
        self._known: set[tuple[str, str]] = set()

    def run(
        self, only: tuple[str, ...], parameters: Mapping[str, Mapping[str, str]]
    ) -> dict[str, dict[str, str]]:
        """Deploy the stacks (all, or the named ones); return their outputs by stack name."""
        self._bootstrap()
        outputs = {}
        for stack in self._assembly.stacks():
            if only and stack.name not in only:
                continue
            self._publish(stack)
            outputs[stack.name] = self._deploy(stack, parameters.get(stack.name, {}))
        return outputs

    def _bootstrap(self) -> None:
        """Make what every deployment needs, unless `cdk bootstrap` or an earlier one did."""
        client = self._cloud.client("cloudformation")
        names = {stack["StackName"] for stack in client.describe_stacks()["Stacks"]}
        if TOOLKIT in names:
            return
        bucket = f"cdk-{QUALIFIER}-assets-{self._cloud.account}-{self._cloud.region}"
        template = {
            "Resources": {
                "StagingBucket": {
                    "Type": "AWS::S3::Bucket",
                    "UpdateReplacePolicy": "Retain",
                    "DeletionPolicy": "Retain",
                    "Properties": {
                        "BucketName": bucket,
                        "VersioningConfiguration": {"Status": "Enabled"},
                    },
                },
                "CdkBootstrapVersion": {
                    "Type": "AWS::SSM::Parameter",
                    "Properties": {
                        "Type": "String",
                        "Name": f"/cdk-bootstrap/{QUALIFIER}/version",
                        "Value": "30",
                    },
                },
            }
        }
        client.create_stack(StackName=TOOLKIT, TemplateBody=json.dumps(template))
        self._wait(TOOLKIT)

    def _place(self, text: str) -> str:
        """Fill in the account and region that the assembly leaves open."""
        for name, value in (
            ("AccountId", self._cloud.account),
            ("Region", self._cloud.region),
            ("Partition", "aws"),
        ):
            text = text.replace("${AWS::" + name + "}", value)
        return text

    def _publish(self, stack: StackArtifact) -> None:
        """Upload the assets that the bucket does not hold yet."""
        s3 = self._cloud.client("s3")
        for source, packaging, bucket, key in self._assembly.assets(stack.id):
            where = (self._place(bucket), self._place(key))
            if where in self._known:
                continue
            self._known.add(where)
            listed = s3.list_objects_v2(Bucket=where[0], Prefix=where[1], MaxKeys=1)
            if any(item["Key"] == where[1] for item in listed.get("Contents", ())):
                continue
            body = _zipped(source) if packaging == "zip" else source.read_bytes()
            s3.put_object(Bucket=where[0], Key=where[1], Body=body)

    def _deploy(self, artifact: StackArtifact, given: Mapping[str, str]) -> dict[str, str]:
        """Create or update one stack; parameters that are not given keep their value."""
        client = self._cloud.client("cloudformation")
        body = artifact.template.read_text()
        declared = json.loads(body).get("Parameters", {})
        values = dict(artifact.parameters) | dict(given)
        existing = {stack["StackName"]: stack for stack in client.describe_stacks()["Stacks"]}
        current = existing.get(artifact.name)
        kept = {item["ParameterKey"] for item in (current or {}).get("Parameters", ())}
        parameters: list[dict[str, Any]] = [
            {"ParameterKey": key, "ParameterValue": value} for key, value in values.items()
        ]
        parameters += [
            {"ParameterKey": key, "UsePreviousValue": True}
            for key in declared
            if key not in values and key in kept
        ]
        request: dict[str, Any] = {
            "StackName": artifact.name,
            "TemplateBody": body,
            "Parameters": parameters,
            "Capabilities": ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            "Tags": [{"Key": k, "Value": v} for k, v in artifact.tags.items()],
        }
        try:
            if current is None:
                client.create_stack(**request)
            else:
                client.update_stack(**request)
        except client.exceptions.ClientError as error:
            if "No updates are to be performed" in str(error):
                return self._outputs(artifact.name)
            raise DeployError(f"{artifact.name}: {error.response['Error']['Message']}") from error
        self._wait(artifact.name)
        return self._outputs(artifact.name)

    def _wait(self, name: str) -> None:
        stack = self._cloud.stacks.find(name)
        with self._cloud.clock.idle():
            status = self._cloud.stacks.wait(stack)
        if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            reasons = [
                f"{event.logical_id} ({event.type}): {event.reason}"
                for event in stack.events
                if event.status.endswith("_FAILED") and event.reason
            ]
            why = "; ".join(reasons[-3:] or [stack.reason])
            raise DeployError(f"{name} ended {status}: {why}")

    def _outputs(self, name: str) -> dict[str, str]:
        outputs = self._cloud.stacks.find(name).outputs
        return {key: output["OutputValue"] for key, output in outputs.items()}


def _zipped(folder: Path) -> bytes:
    """Zip a folder; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), FIXED_TIME)
            info.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())
    return buffer.getvalue()
