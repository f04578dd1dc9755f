"""One deployed stage: its settings, its stacks' outputs, and signed calls to its API."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError

from core.errors import OperationError
from core.settings import Settings, load_settings

LOCAL_CLOUD = Path(".local/cloud.json")
REQUEST_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Deployment:
    """A deployed stage, read from the outputs of its stacks.

    `endpoint` is the local cloud's address, or None where the stage is in an AWS account.
    `apis` maps ids of REST APIs to the addresses where the local cloud serves them.
    """

    settings: Settings
    session: boto3.Session
    endpoint: str | None
    apis: tuple[tuple[str, str], ...] = ()
    _outputs: dict[str, dict[str, str]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Return the name of the deployment: project and stage."""
        return self.settings.deployment

    def now(self) -> datetime:
        """Return the stage's current time: the local cloud has a clock of its own."""
        return datetime.now(UTC) if self.endpoint is None else _read_state(self.endpoint)[1]

    def client(self, service: str) -> Any:
        """Return a boto3 client of the stage's account, or of the local cloud."""
        session: Any = self.session  # the typed overloads accept only literal service names
        return session.client(service, endpoint_url=self.endpoint)

    def outputs(self, stack: str) -> dict[str, str]:
        """Return the outputs of one of the three stacks: training, serving or monitoring.

        They are read once. Raises OperationError where the stack does not exist or cannot be read.
        """
        if stack not in self._outputs:
            self._outputs[stack] = _read_outputs(self, f"{self.name}-{stack}")
        return self._outputs[stack]

    def output(self, stack: str, key: str) -> str:
        """Return one output of one of the three stacks."""
        try:
            return self.outputs(stack)[key]
        except KeyError:
            raise OperationError(
                f"stack {self.name}-{stack} has no output {key}: deploy the current code again"
            ) from None

    @property
    def bucket(self) -> str:
        """Return the name of the bucket for data, models, captures, labels and reports."""
        return self.output("training", "BucketName")

    @property
    def model_uri(self) -> str:
        """Return the address of the live model's bundle, or `none` before the first model."""
        return _read_outputs(self, f"{self.name}-serving")["ModelUri"]

    @property
    def api_url(self) -> str:
        """Return the address of the REST API, with a trailing slash."""
        url = self.output("serving", "ApiUrl")
        host = url.split("/")[2]
        served = dict(self.apis).get(host.split(".")[0], url)
        return served if served.endswith("/") else served + "/"

    def request(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Call the REST API, signed with the caller's credentials.

        Returns the status and the parsed JSON body (or the text, where it is not JSON).
        Raises OperationError where the API does not answer.
        """
        url = self.api_url + path.lstrip("/")
        data = None if body is None else json.dumps(body).encode()
        request = AWSRequest(
            method, url, data=data, headers={"content-type": "application/json", **(headers or {})}
        )
        credentials = self.session.get_credentials()
        if credentials is None:
            raise OperationError("no AWS credentials: sign in, or set AWS_PROFILE")
        SigV4Auth(credentials, "execute-api", self.session.region_name).add_auth(request)
        call = urllib.request.Request(  # noqa: S310 - the address is the stack's own output
            url, data=data, headers=dict(request.headers.items()), method=method
        )
        try:
            with urllib.request.urlopen(call, timeout=REQUEST_TIMEOUT_SECONDS) as answer:  # noqa: S310
                return answer.status, _parse(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _parse(error.read())
        except (urllib.error.URLError, TimeoutError) as error:
            raise OperationError(f"{url} does not answer: {error}") from error


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _read_outputs(deployment: Deployment, stack: str) -> dict[str, str]:
    try:
        found = deployment.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        raise OperationError(
            f"stack {stack} was not found ({error.response['Error']['Message']}): run "
            f"`make deploy STAGE={deployment.settings.stage}`, or `make up` for stage local"
        ) from error
    except BotoCoreError as error:
        raise OperationError(f"stack {stack} cannot be read: {error}") from error
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def _read_state(endpoint: str) -> tuple[tuple[tuple[str, str], ...], datetime]:
    """Ask a local cloud for the addresses of its REST APIs and the time of its clock."""
    try:
        with urllib.request.urlopen(f"{endpoint}/_driftless/state", timeout=10) as answer:  # noqa: S310
            state = json.loads(answer.read())
        return tuple(sorted(state["apis"].items())), datetime.fromtimestamp(state["clock"], UTC)
    except (OSError, ValueError, KeyError) as error:
        raise OperationError(
            f"{endpoint} is not a Driftless local cloud ({error}): unset AWS_ENDPOINT_URL if it is "
            "set to this address, or start a local cloud with `make up`"
        ) from error


def connect(stage: str | None = None, project: Path = Path("project.toml")) -> Deployment:
    """Connect to a deployed stage; `local` is the cloud that `make up` started.

    Raises SettingsError for an invalid project file, OperationError where no cloud is running.
    """
    settings = load_settings(project, stage)
    if not settings.is_local:
        return Deployment(settings, boto3.Session(), None)
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        return Deployment(settings, boto3.Session(), endpoint, _read_state(endpoint)[0])
    try:
        cloud = json.loads(LOCAL_CLOUD.read_text())
    except FileNotFoundError:
        raise OperationError(
            f"no local cloud is running ({LOCAL_CLOUD} does not exist): start one with `make up`"
        ) from None
    session = boto3.Session(
        aws_access_key_id=cloud["access_key_id"],
        aws_secret_access_key=cloud["secret_access_key"],
        region_name=cloud["region"],
    )
    return Deployment(settings, session, cloud["endpoint"], tuple(sorted(cloud["apis"].items())))
