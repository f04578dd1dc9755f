"""Who is calling, and whether the deployed policies of its role allow the call."""

from __future__ import annotations

import json
import logging
import secrets
import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moto.core.config import default_user_config
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from local.host import AccessDenied, Host
from local.parts import Part
from local.policies import SECURE, decide, mentions
from local.rights import Rights

logger = logging.getLogger(__name__)

# The operator's credentials are the same in every local cloud: they open nothing but this process.
OPERATOR_KEY = "AKIADRIFTLESSLOCAL01"
OPERATOR_SECRET = "local-cloud-secret-of-the-operator"  # noqa: S105
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True)
class Credentials:
    """One set of AWS credentials and the principal that they speak for (an IAM ARN)."""

    key: str
    secret: str
    token: str
    principal: str
    session: str = ""

    @property
    def role(self) -> str:
        """Return the role's ARN, or an empty text for the operator."""
        return self.principal if ":role/" in self.principal else ""

    @property
    def arn(self) -> str:
        """Return the caller's ARN as AWS reports it for a session."""
        if not self.role:
            return self.principal
        account, name = self.principal.split(":")[4], self.principal.rsplit("/", 1)[-1]
        return f"arn:aws:sts::{account}:assumed-role/{name}/{self.session}"


class Identity(Part):
    """Issue credentials, recognise them again, and see every call that a role makes."""

    def __init__(self, cloud: Host, rights: Rights) -> None:
        super().__init__(cloud)
        self._rights = rights
        self._lock = threading.Lock()
        self.operator = Credentials(
            OPERATOR_KEY, OPERATOR_SECRET, "", f"arn:aws:iam::{cloud.account}:root"
        )
        self._known: dict[str, Credentials] = {OPERATOR_KEY: self.operator}
        # (role ARN, action) -> calls; what a policy must allow, as seen so far.
        self.calls: Counter[tuple[str, str]] = Counter()

    def start(self) -> None:
        """Load AWS's own managed policies, which templates attach; moto does so only if told."""
        default_user_config["iam"] = {"load_aws_managed_policies": True}

    def stop(self) -> None:
        """Tell moto to leave them out again."""
        default_user_config["iam"] = {"load_aws_managed_policies": False}
        super().stop()

    def issue(self, role_arn: str, session: str = "") -> Credentials:
        """Make credentials that speak for a role."""
        key = "ASIA" + "".join(secrets.choice(LETTERS) for _ in range(16))
        credentials = Credentials(
            key,
            secrets.token_urlsafe(30),
            secrets.token_urlsafe(60),
            role_arn,
            session or uuid.uuid4().hex,
        )
        with self._lock:
            self._known[key] = credentials
        return credentials

    def find(self, key: str) -> Credentials | None:
        """Recognise an access key: issued here, handed out by STS, or made for an IAM user."""
        with self._lock:
            if key in self._known:
                return self._known[key]
        return self._from_moto(key)

    def _from_moto(self, key: str) -> Credentials | None:
        for backend in sts_backends[self._cloud.account].values():
            for assumed in backend.assumed_roles:
                if assumed.access_key_id == key:
                    return Credentials(
                        key,
                        assumed.secret_access_key,
                        assumed.session_token,
                        assumed.role_arn,
                        assumed.session_name,
                    )
        for user in iam_backends[self._cloud.account]["aws"].users.values():
            for access_key in user.access_keys:
                if access_key.access_key_id == key:
                    return Credentials(key, access_key.secret_access_key, "", user.arn)
        return None

    def authorise(
        self,
        role_arn: str,
        action: str,
        resource: str = "",
        context: Mapping[str, str] | None = None,
    ) -> None:
        """Let a role's call pass, or raise AccessDenied: every such call comes through here.

        Without a resource the action alone is judged. Allowing is the matter of the policies of
        the role: a policy of the resource that grants what the role's own do not is not asked.
        """
        with self._lock:
            self.calls[(role_arn, action)] += 1
        known = {
            **SECURE,
            "aws:PrincipalAccount": self._cloud.account,
            "aws:ResourceAccount": self._cloud.account,
            **(context or {}),
        }
        verdicts = {
            decide(policy, action, resource, known) if resource else mentions(policy, action)
            for policy in self._policies(role_arn)
        }
        if "Allow" in verdicts and "Deny" not in verdicts:
            return
        why = (
            "a policy denies it explicitly" if "Deny" in verdicts else "no policy of it allows that"
        )
        text = (
            f"User: {role_arn} is not authorized to perform: {action} on resource: "
            f"{resource or '*'} because {why}; grant it in infra/"
        )
        logger.warning("%s", text)
        raise AccessDenied(text)

    def authorise_request(self, role_arn: str, service: str, environ: dict[str, Any]) -> None:
        """Judge all that a role's call to a service needs; the call is a WSGI request."""
        call = self._rights.read(service, environ, self._cloud.account, self._cloud.region)
        for need in self._rights.of(call):
            self.authorise(role_arn, need.action, need.resource, need.context)

    def _policies(self, role_arn: str) -> list[Mapping[str, Any]]:
        """Read the policies of a role: its own and those attached."""
        try:
            role = iam_backends[self._cloud.account]["aws"].get_role_by_arn(role_arn)
        except NotFoundException:
            return []
        documents: list[Any] = [*role.policies.values()]
        for policy in role.managed_policies.values():
            versions = {version.version_id: version for version in policy.versions}
            documents.append(versions[policy.default_version_id].document)
        return [
            document if isinstance(document, dict) else json.loads(document)
            for document in documents
        ]
