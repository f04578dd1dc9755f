"""What every CloudFormation resource type shares: its order, the fitting of its properties.

A resource is created as CloudFormation's own providers do it: through the public API of its
service, here answered by moto. `fit` brings a template's properties into the form that botocore's
model of the API asks for, and refuses a property that the API does not know, so that nothing in a
template is passed over in silence.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, Shape, StructureShape

from local.host import Host

GONE = re.compile(r"NotFound|NoSuch|DoesNotExist|NonExistent|does not exist")
ALPHABET = string.ascii_uppercase + string.digits


class ResourceError(Exception):
    """A resource could not be made; the message is the stack event's reason."""


@dataclass(frozen=True)
class Made:
    """What a resource became: its physical id (Ref) and its attributes (Fn::GetAtt)."""

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """One resource to create, update or delete, with the properties resolved."""

    cloud: Host
    stack_name: str
    stack_id: str
    logical_id: str
    type: str
    properties: Mapping[str, Any]
    physical_id: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    previous: Mapping[str, Any] = field(default_factory=dict)
    update_policy: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """Return a property that the type requires."""
        if name not in self.properties:
            raise ResourceError(f"Property {name} of {self.logical_id} is required")
        return self.properties[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an optional property."""
        return self.properties.get(name, default)

    def given(self, *names: str, **renamed: str) -> dict[str, Any]:
        """Return the named properties that are set; `api_name="Property"` renames one."""
        wanted = {name: name for name in names} | renamed
        return {
            api: self.properties[name] for api, name in wanted.items() if name in self.properties
        }

    def rest(self, *without: str) -> dict[str, Any]:
        """Return all properties but the named ones."""
        return {name: value for name, value in self.properties.items() if name not in without}

    def name(self, limit: int = 64, *, lower: bool = False) -> str:
        """Make up a physical name as CloudFormation does: stack, logical id, random suffix."""
        suffix = "".join(secrets.choice(ALPHABET) for _ in range(12))
        room = limit - len(suffix) - 2
        stack = self.stack_name[: max(room // 2, room - len(self.logical_id))]
        name = f"{stack}-{self.logical_id[: room - len(stack)]}-{suffix}"
        return name.lower() if lower else name

    def arn(self, service: str, resource: str) -> str:
        """Name a resource of this account and region."""
        return f"arn:aws:{service}:{self.cloud.region}:{self.cloud.account}:{resource}"

    def call(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """Call an AWS API with properties fitted to the operation's input."""
        client = self.cloud.client(service)
        model = client.meta.service_model.operation_model(operation)
        fitted = {name: value for name, value in parameters.items() if value is not None}
        if model.input_shape is not None:
            fitted = fit(model.input_shape, fitted, f"{self.type} {self.logical_id}")
        method = re.sub(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", operation).lower()
        try:
            answer: dict[str, Any] = getattr(client, method)(**fitted)
        except ClientError as error:
            reason = error.response["Error"].get("Message", str(error))
            code = error.response["Error"].get("Code", "")
            raise ResourceError(f"{reason} (Service: {service}, Code: {code})") from error
        return answer

    def discard(self, service: str, operation: str, /, **parameters: Any) -> None:
        """Call a deleting API; a resource that is gone already is no error."""
        try:
            self.call(service, operation, **parameters)
        except ResourceError as error:
            if not GONE.search(str(error)):
                raise


class Kind(ABC):
    """One resource type."""

    type: ClassVar[str]
    # Properties that CloudFormation cannot change in place: a new value replaces the resource.
    create_only: ClassVar[frozenset[str]] = frozenset()

    def replaces(self, order: Order, changed: frozenset[str]) -> bool:
        """Tell whether the changed properties ask for a new resource."""
        return bool(changed & self.create_only)

    @abstractmethod
    def create(self, order: Order) -> Made:
        """Create the resource."""

    def update(self, order: Order) -> Made:
        """Bring the resource from `order.previous` to `order.properties`."""
        raise ResourceError(f"{self.type} cannot be updated in place by the local cloud")

    def remake(self, order: Order) -> Made:
        """Delete the resource and make it anew under its name, where the API has no update."""
        self.delete(order)
        return self.create(order)

    @abstractmethod
    def delete(self, order: Order) -> None:
        """Delete the resource."""


class NamedKind(Kind):
    """A type whose resources are made under a name by one call, and deleted by another.

    They cannot be changed in place; see PutKind for those that can.
    """

    service: ClassVar[str]
    created_by: ClassVar[str]
    deleted_by: ClassVar[str]
    # The template's property for the name, and the API's parameter if it is called otherwise.
    name_property: ClassVar[str]
    name_parameter: ClassVar[str] = ""
    # The longest name that is generated where the template gives none.
    name_limit: ClassVar[int] = 64

    def create(self, order: Order) -> Made:
        """Make the resource under its name; a resource that is there keeps its own."""
        name = order.physical_id or order.get(self.name_property) or order.name(self.name_limit)
        named = {self.name_parameter or self.name_property: name}
        answer = order.call(self.service, self.created_by, **named, **self.parameters(order))
        return Made(name, self.attributes(order, name, answer))

    def parameters(self, order: Order) -> dict[str, Any]:
        """Return what the creating call is given beside the name."""
        return order.rest(self.name_property)

    def attributes(self, order: Order, name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return what Fn::GetAtt finds."""
        return {}

    def delete(self, order: Order) -> None:
        """Delete the resource by its name."""
        order.discard(self.service, self.deleted_by, **self.target(order))

    def target(self, order: Order) -> dict[str, Any]:
        """Return what the deleting call is given."""
        return {self.name_parameter or self.name_property: order.physical_id}


class PutKind(NamedKind):
    """A type whose creating call also changes the resource that has the name already."""

    update = NamedKind.create


def fit(shape: Shape, value: Any, where: str) -> Any:
    """Bring a template's value into the form of botocore's `shape`.

    Names are matched without regard to case, text becomes the number or
    boolean that the API wants, objects become JSON where the API wants text, and `Tags` change
    between the list and the map form. An unknown property raises ResourceError.
    """
    if isinstance(shape, StructureShape):
        if not isinstance(value, Mapping):
            raise ResourceError(f"{where}: expected an object, got {value!r}")
        members = {name.lower(): name for name in shape.members}
        fitted = {}
        for name, inner in value.items():
            member = members.get(name.lower())
            if member is None:
                raise ResourceError(
                    f"{where}: the local cloud does not support the property {name!r}"
                )
            fitted[member] = fit(shape.members[member], inner, f"{where}.{name}")
        return fitted
    if isinstance(shape, ListShape):
        if isinstance(value, Mapping) and isinstance(shape.member, StructureShape):
            value = [{"Key": key, "Value": inner} for key, inner in value.items()]
        if isinstance(value, str) or not isinstance(value, Iterable):
            value = [value]
        return [fit(shape.member, item, where) for item in value]
    if isinstance(shape, MapShape):
        if isinstance(value, list):
            value = {item["Key"]: item["Value"] for item in value}
        return {key: fit(shape.value, inner, f"{where}.{key}") for key, inner in value.items()}
    return _fit_scalar(shape.type_name, value)


def _fit_scalar(kind: str, value: Any) -> Any:
    if kind in {"integer", "long"} and not isinstance(value, bool):
        return int(value)
    if kind in {"float", "double"}:
        return float(value)
    if kind == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    if kind == "string":
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dict | list):
            return json.dumps(value)
        return value if isinstance(value, str) else str(value)
    return value


def tags(value: Any) -> dict[str, str]:
    """Return a template's tags (list or map) as a map."""
    if isinstance(value, Mapping):
        return {key: str(inner) for key, inner in value.items()}
    return {item["Key"]: str(item["Value"]) for item in value or []}
