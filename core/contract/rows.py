"""Checks rows against a contract, fast, and names everything that is wrong with them at once.

pydantic's own core does the work, from a schema made of the contract: no pydantic model classes are
needed, which saves a Lambda half of what `import pydantic` costs at a cold start.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from pydantic_core import SchemaValidator, ValidationError, core_schema

from core.contract.columns import LARGEST_INTEGER, Column, integer_limits
from core.contract.definition import Contract
from core.errors import ContractError, Problem

MAX_TEXT_CHARACTERS = 10_000
MAX_CATEGORY_CHARACTERS = 1_000
MAX_ID_CHARACTERS = 128
MAX_ENTITY_CHARACTERS = 1_000
ID_PATTERN = r"^[A-Za-z0-9._:-]+$"

_DATE = r"^\d{4}-\d\d-\d\d"
_BOOLEANS = "true or false (or 0, 1, yes, no)"
_EXPECTED = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": _BOOLEANS,
    "category": "text",
    "timestamp": 'a date and time in ISO 8601, like "2026-01-31T09:30:00Z"',
    "text": "text",
}


class PredictRequest(TypedDict, total=False):
    """A body of POST /predict: the rows, and optionally an id of the caller's for each."""

    instances: list[dict[str, Any]]
    ids: list[str]


class LabelEntry(TypedDict):
    """One label of POST /feedback: a prediction's id and what turned out to be true."""

    id: str
    value: str | float | bool


class RowAdapter:
    """Validates rows and requests of one contract; make it once, it is safe to share.

    Numbers are strict: text, NaN and infinities are refused. A whole number may be written 3.0. A
    boolean may be written true, 1 or "yes". Timestamps become `datetime`. A column that may be
    missing may be null or absent. A row may also name its entity, under the name of the contract's
    group column (or id column, where there is no group), as text or a number. Columns that the
    contract does not know are refused.

    Every method raises ContractError with all problems of all rows. A problem's message never holds
    the value of a sensitive column, nor an entity.
    """

    def __init__(self, contract: Contract, max_rows: int | None = None) -> None:
        """Compile the contract's schema; a request may hold 1 to `max_rows` rows."""
        self.contract = contract
        self.max_rows = max_rows
        self._columns = {column.name: column for column in contract.columns}
        self._entity = contract.entity_member
        self._names = (*self._columns, *filter(None, [self._entity]))
        row = _row_schema(contract.columns, self._entity)
        rows = core_schema.list_schema(row, min_length=1, max_length=max_rows, strict=True)
        identifier = core_schema.str_schema(
            strict=True, min_length=1, max_length=MAX_ID_CHARACTERS, pattern=ID_PATTERN
        )
        request = core_schema.typed_dict_schema(
            {
                "instances": core_schema.typed_dict_field(rows),
                "ids": core_schema.typed_dict_field(
                    core_schema.list_schema(identifier, strict=True), required=False
                ),
            },
            extra_behavior="forbid",
        )
        label = core_schema.typed_dict_schema(
            {
                "id": core_schema.typed_dict_field(identifier),
                "value": core_schema.typed_dict_field(_label_schema()),
            },
            extra_behavior="forbid",
        )
        labels = core_schema.typed_dict_schema(
            {
                "labels": core_schema.typed_dict_field(
                    core_schema.list_schema(label, min_length=1, max_length=max_rows, strict=True)
                )
            },
            extra_behavior="forbid",
        )
        # A logged traceback must not show what a row held.
        config = core_schema.CoreConfig(hide_input_in_errors=True)
        self._rows = SchemaValidator(rows, config)
        self._request = SchemaValidator(request, config)
        self._labels = SchemaValidator(labels, config)

    def validate_json(self, body: bytes | str) -> list[dict[str, Any]]:
        """Validate a JSON array of rows."""
        try:
            return cast("list[dict[str, Any]]", self._rows.validate_json(body))
        except ValidationError as error:
            raise self._refusal(error, ()) from error

    def validate_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Validate rows of Python values (a timestamp may be a `datetime` or text)."""
        try:
            return cast("list[dict[str, Any]]", self._rows.validate_python(list(rows)))
        except ValidationError as error:
            raise self._refusal(error, ()) from error

    def validate_request(self, body: bytes | str) -> PredictRequest:
        """Validate a body of POST /predict: `{"instances": [...], "ids"?: [...]}`."""
        try:
            request = cast("PredictRequest", self._request.validate_json(body))
        except ValidationError as error:
            raise self._refusal(error, ("instances",)) from error
        identifiers = request.get("ids")
        if identifiers is not None:
            self._check_ids(identifiers, len(request["instances"]))
        return request

    def validate_labels(self, body: bytes | str) -> list[LabelEntry]:
        """Validate a body of POST /feedback: `{"labels": [{"id", "value"}, ...]}`.

        Each value comes back in the contract's form: a class's name, or a number.
        """
        try:
            entries = self._labels.validate_json(body)["labels"]
        except ValidationError as error:
            raise self._refusal(error, ("labels",)) from error
        labels: list[LabelEntry] = []
        problems = []
        for index, entry in enumerate(entries):
            try:
                value = self.contract.parse_label(entry["value"])
                labels.append({"id": entry["id"], "value": value})
            except ContractError as error:
                problems.append(Problem(index, "value", str(error), "unknown_label"))
        if problems:
            raise ContractError("the labels do not fit the model", problems)
        return labels

    def _check_ids(self, identifiers: list[str], rows: int) -> None:
        problems = []
        if len(identifiers) != rows:
            message = f"there are {len(identifiers)} ids for {rows} rows; give one for each row"
            problems.append(Problem(None, "ids", message, "ids_do_not_match"))
        seen: set[str] = set()
        for index, identifier in enumerate(identifiers):
            if identifier in seen:
                message = f"the id {identifier!r} is used twice; ids tell rows apart"
                problems.append(Problem(index, "ids", message, "duplicate_id"))
            seen.add(identifier)
        if problems:
            raise ContractError("the request does not fit the contract", problems)

    def _refusal(self, error: ValidationError, prefix: tuple[str, ...]) -> ContractError:
        problems = [
            self._problem(
                detail["type"], detail["loc"], detail.get("input"), detail.get("ctx"), prefix
            )
            for detail in error.errors(include_url=False)
        ]
        return ContractError("the request does not fit the contract", list(dict.fromkeys(problems)))

    def _problem(
        self,
        kind: str,
        location: tuple[int | str, ...],
        value: Any,
        context: dict[str, Any] | None,
        prefix: tuple[str, ...],
    ) -> Problem:
        context = context or {}
        if kind == "json_invalid":
            return Problem(
                None, None, f"the body is not JSON: {context.get('error')}", "invalid_json"
            )
        inside = location[len(prefix) :] if location[: len(prefix)] == prefix else ()
        if not inside:
            return self._outer_problem(kind, location, context, prefix)
        row = inside[0] if isinstance(inside[0], int) else None
        if len(inside) == 1:
            kind_of_item = (
                "a row is an object of columns" if prefix != ("labels",) else "a label is an object"
            )
            return Problem(row, None, f"{kind_of_item}, not {_kind(value)}", "not_an_object")
        name = str(inside[1])
        if kind == "extra_forbidden":
            shown = name if len(name) <= 100 else name[:97] + "..."
            return Problem(
                row,
                shown,
                f"is not a column of this model{_nearest(name, self._names)}",
                "unknown_column",
            )
        if prefix == ("labels",):
            message = "is missing" if kind == "missing" else _plain(kind, context)
            return Problem(row, name, message, "missing" if kind == "missing" else "wrong_type")
        if name == self._entity:
            limit = MAX_ENTITY_CHARACTERS
            message = f"must be text of at most {limit} characters, a number or null"
            return Problem(row, name, message, "wrong_type")
        column = self._columns[name]
        code, message = _describe(kind, column, value, context)
        return Problem(row, name, message, code)

    def _outer_problem(
        self,
        kind: str,
        location: tuple[int | str, ...],
        context: dict[str, Any],
        prefix: tuple[str, ...],
    ) -> Problem:
        name = str(location[0]) if location else None
        what = f'"{prefix[0]}"' if prefix else "the body"
        if kind == "too_long":
            limit = context.get("max_length")
            return Problem(
                None,
                None,
                f"{what} holds more than {limit} rows; send fewer at once",
                "too_many_rows",
            )
        if kind == "too_short":
            return Problem(None, None, f"{what} is empty; send at least one row", "no_rows")
        if kind == "missing":
            return Problem(None, name, f'the body needs "{name}"', "missing")
        if kind == "extra_forbidden":
            shown = (name or "")[:100]
            return Problem(
                None, shown, f"the body has no member of this name; it has {what}", "unknown_member"
            )
        if name == "ids":
            row = location[1] if len(location) > 1 and isinstance(location[1], int) else None
            return Problem(
                row,
                "ids",
                f"an id is text of 1 to {MAX_ID_CHARACTERS} letters, digits and . _ : -",
                "wrong_type",
            )
        if name is None and prefix:
            return Problem(None, None, f"the body is a JSON object that holds {what}", "wrong_type")
        return Problem(None, None, f"{what} is an array", "wrong_type")


def _row_schema(columns: Sequence[Column], entity: str | None) -> core_schema.CoreSchema:
    members = {}
    for column in columns:
        schema = _column_schema(column)
        if column.missing:
            schema = core_schema.nullable_schema(schema)
        members[column.name] = core_schema.typed_dict_field(schema, required=not column.missing)
    if entity is not None:
        members[entity] = core_schema.typed_dict_field(_entity_schema(), required=False)
    return core_schema.typed_dict_schema(members, extra_behavior="forbid")


def _column_schema(column: Column) -> core_schema.CoreSchema:
    if column.type == "boolean":
        return core_schema.bool_schema()
    if column.type == "number":
        return core_schema.float_schema(
            strict=True, allow_inf_nan=False, ge=column.min, le=column.max
        )
    if column.type == "integer":
        low, high = integer_limits(column)
        return core_schema.chain_schema(
            [
                core_schema.float_schema(strict=True, allow_inf_nan=False),
                core_schema.int_schema(ge=low, le=high),
            ]
        )
    if column.type == "timestamp":
        text = core_schema.chain_schema(
            [core_schema.str_schema(strict=True, pattern=_DATE), core_schema.datetime_schema()]
        )
        moment = core_schema.union_schema(
            [core_schema.datetime_schema(strict=True), text],
            mode="left_to_right",
            custom_error_type="timestamp",
            custom_error_message="not a moment",
        )
        return core_schema.json_or_python_schema(json_schema=text, python_schema=moment)
    if column.type == "category" and column.unseen == "refuse":
        return core_schema.literal_schema(list(column.categories))
    limit = MAX_TEXT_CHARACTERS if column.type == "text" else MAX_CATEGORY_CHARACTERS
    return core_schema.str_schema(strict=True, max_length=limit)


def _entity_schema() -> core_schema.CoreSchema:
    limit = LARGEST_INTEGER
    return core_schema.nullable_schema(
        core_schema.union_schema(
            [
                core_schema.str_schema(strict=True, max_length=MAX_ENTITY_CHARACTERS),
                core_schema.int_schema(strict=True, ge=-limit, le=limit),
                core_schema.float_schema(strict=True, allow_inf_nan=False, ge=-limit, le=limit),
            ],
            mode="left_to_right",
            custom_error_type="entity",
            custom_error_message="an entity is text or a number",
        )
    )


def _label_schema() -> core_schema.CoreSchema:
    return core_schema.union_schema(
        [
            core_schema.str_schema(strict=True, max_length=MAX_CATEGORY_CHARACTERS),
            core_schema.bool_schema(strict=True),
            core_schema.int_schema(strict=True),
            core_schema.float_schema(strict=True, allow_inf_nan=False),
        ],
        mode="left_to_right",
        custom_error_type="label",
        custom_error_message="a label is text, a number or a boolean",
    )


def _describe(kind: str, column: Column, value: Any, context: dict[str, Any]) -> tuple[str, str]:
    """Give the code and the message of one value's problem."""
    got = "" if column.sensitive else f", not {_shorten(value)}"
    if kind == "missing":
        return "missing", "is missing, and this model needs it"
    if value is None:
        return "missing", "is null, and this model needs it"
    if kind == "finite_number":
        return "not_finite", "is not a finite number"
    if kind == "greater_than_equal":
        return "too_small", f"must be at least {_number(context['ge'])}{_unit(column)}{got}"
    if kind == "less_than_equal":
        return "too_large", f"must be at most {_number(context['le'])}{_unit(column)}{got}"
    if kind == "int_parsing_size":
        return "too_large", f"must be at most {LARGEST_INTEGER} in size, to be exact{got}"
    if kind == "string_too_long":
        return "too_long", f"must be at most {context['max_length']} characters long"
    if kind == "literal_error":
        if isinstance(value, str):
            names = ", ".join(column.categories[:20])
            more = ", ..." if len(column.categories) > 20 else ""
            return "unseen_category", f"must be one of {names}{more}{got}"
        return "wrong_type", f"must be text{got}"
    return "wrong_type", f"must be {_EXPECTED[column.type]}{got}"


def _plain(kind: str, context: dict[str, Any]) -> str:
    if kind == "label":
        return "must be text, a number or a boolean"
    return f"must be text of 1 to {MAX_ID_CHARACTERS} letters, digits and . _ : -"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "text", int: "a number", float: "a number", list: "an array"}
    return names.get(type(value), type(value).__name__)


def _shorten(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _number(value: float) -> str:
    return f"{value:.15g}"


def _unit(column: Column) -> str:
    return f" {column.unit}" if column.unit else ""


def _nearest(name: str, columns: Sequence[str]) -> str:
    """Suggest the column whose name differs only in case, spaces or punctuation."""
    wanted = _squeeze(name)
    for known in columns:
        if _squeeze(known) == wanted:
            return f"; did you mean {known!r}?"
    return ""


def _squeeze(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
