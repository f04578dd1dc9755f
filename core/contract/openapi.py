"""The OpenAPI 3.1 document of the API that serves one contract.

It says exactly what `core.contract.rows` accepts, so that a generated client or a fuzzer finds no
difference. Errors are problem documents (RFC 9457, "Problem Details for HTTP APIs").
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from core.contract.columns import LARGEST_INTEGER, Column, integer_limits
from core.contract.definition import Contract
from core.contract.rows import (
    ID_PATTERN,
    MAX_CATEGORY_CHARACTERS,
    MAX_ENTITY_CHARACTERS,
    MAX_ID_CHARACTERS,
    MAX_TEXT_CHARACTERS,
)
from core.errors import ContractError

Auth = Literal["iam", "api_key", "open"]

# The spellings of a boolean that pydantic's core knows, in any case.
_BOOLEAN_TEXT = "true|t|yes|y|on|1|false|f|no|n|off|0"

_STATUSES = {
    400: ("BadRequest", "The body is not JSON, or not UTF-8."),
    401: ("Unauthorized", "The request is not signed."),
    403: ("Forbidden", "The signature or the key is wrong, or the caller may not call this API."),
    404: ("NotFound", "There is nothing at this path."),
    405: ("MethodNotAllowed", "This path does not answer this method."),
    409: ("Conflict", "The ids and what they name do not match."),
    413: ("TooLarge", "The body is too large."),
    415: ("UnsupportedMediaType", "The body is not `application/json`."),
    422: (
        "Unprocessable",
        "Rows or labels do not fit the contract; `errors` names every row and column.",
    ),
    429: ("TooManyRequests", "More calls than the limit; wait for `Retry-After` seconds."),
    500: ("InternalError", "The service failed; the request may be sent again."),
    503: ("NoModel", "No model is live yet, or it cannot be loaded."),
}


def describe_api(
    contract: Contract,
    *,
    title: str = "Predictions",
    version: str = "1",
    description: str = "",
    server: str = "/",
    auth: Auth = "iam",
    max_rows: int = 1000,
    public_docs: bool = False,
    example: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe POST /predict and /feedback, GET /model, /health, /openapi.json and /docs.

    `version` is the model's; `example` is a row that the contract accepts, shown in the document;
    `public_docs` says that /docs and /openapi.json need no signature.
    """
    security = _security(auth)
    open_docs: dict[str, Any] = {"security": []} if public_docs else {}
    paths = {
        "/predict": {
            "post": {
                "operationId": "predict",
                "summary": _predict_summary(contract),
                "parameters": [
                    {
                        "name": "explain",
                        "in": "query",
                        "required": False,
                        "description": "true adds to each prediction what each column did to it.",
                        "schema": {"type": "string", "enum": ["true", "false"]},
                    }
                ],
                "requestBody": _body("PredictRequest"),
                "responses": {
                    "200": _answer("The predictions, in the order of the rows.", "Predictions"),
                    **_errors(400, 409, 413, 415, 422, 503),
                },
            }
        },
        "/feedback": {
            "post": {
                "operationId": "feedback",
                "summary": "Say what turned out to be true of earlier predictions.",
                "requestBody": _body("Labels"),
                "responses": {
                    "202": _answer("The labels are kept.", "Accepted"),
                    **_errors(400, 409, 413, 415, 422, 503),
                },
            }
        },
        "/model": {
            "get": {
                "operationId": "getModel",
                "summary": "The live model: its contract, its metrics, where it comes from.",
                "responses": {"200": _answer("The live model.", "Model"), **_errors(503)},
            }
        },
        "/health": {
            "get": {
                "operationId": "getHealth",
                "summary": "Whether the service answers, and with which model.",
                "responses": {"200": _answer("The service answers.", "Health"), **_errors(503)},
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "getOpenapi",
                "summary": "This document.",
                **open_docs,
                "responses": {
                    "200": {
                        "description": "This document.",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    },
                    **_errors(503),
                },
            }
        },
        "/docs": {
            "get": {
                "operationId": "getDocs",
                "summary": "This document for people, as a page.",
                **open_docs,
                "responses": {
                    "200": {
                        "description": "A page that needs no other host.",
                        "content": {"text/html": {"schema": {"type": "string"}}},
                    },
                    **_errors(503),
                },
            }
        },
    }
    schemes = {name: scheme for name, scheme in _SCHEMES.items() if name in security}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            **({"description": description} if description else {}),
        },
        "servers": [{"url": server}],
        "security": [{name: []} for name in security],
        "paths": paths,
        "components": {
            "schemas": _schemas(contract, max_rows, example),
            "responses": _responses(),
            **({"securitySchemes": schemes} if schemes else {}),
        },
    }


_SCHEMES = {
    "iam": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "AWS Signature Version 4, service `execute-api`.",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
    "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def _security(auth: Auth) -> list[str]:
    return [] if auth == "open" else [auth]


def row_schema(contract: Contract, example: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Describe one row of the contract as a JSON Schema."""
    required = [column.name for column in contract.columns if not column.missing]
    properties = {column.name: column_schema(column) for column in contract.columns}
    if contract.entity_member is not None:
        properties[contract.entity_member] = dict(_ENTITY)
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"required": required} if required else {}),
        **({"examples": [dict(example)]} if example is not None else {}),
    }


_ENTITY = {
    "description": (
        "Whose row it is, written as in the training table. Not an input of the model: it changes "
        "no prediction. Kept as a keyed hash at most, so that a row whose label comes back is "
        "known to be of the same entity as others."
    ),
    "anyOf": [
        {"type": "string", "maxLength": MAX_ENTITY_CHARACTERS},
        {"type": "number", "minimum": -LARGEST_INTEGER, "maximum": LARGEST_INTEGER},
        {"type": "null"},
    ],
}


def column_schema(column: Column) -> dict[str, Any]:
    """Describe the values of one column as a JSON Schema."""
    schema = _value_schema(column)
    if column.missing:
        schema = _or_null(schema)
    notes = [note for note in (column.description, column.unit and f"Unit: {column.unit}.") if note]
    if column.type == "category" and column.unseen == "accept" and column.categories:
        shown = ", ".join(column.categories[:30])
        notes.append(f"Known values: {shown}{', ...' if len(column.categories) > 30 else ''}.")
    if notes:
        schema["description"] = " ".join(notes)
    return schema


def _value_schema(column: Column) -> dict[str, Any]:
    if column.type == "boolean":
        letters = "|".join(_any_case(word) for word in _BOOLEAN_TEXT.split("|"))
        return {
            "anyOf": [
                {"type": "boolean"},
                {"type": "integer", "enum": [0, 1]},
                {"type": "string", "pattern": f"^({letters})$"},
            ]
        }
    if column.type == "number":
        limits = {"minimum": column.min, "maximum": column.max}
        return {"type": "number", **{k: v for k, v in limits.items() if v is not None}}
    if column.type == "integer":
        low, high = integer_limits(column)
        return {"type": "integer", "minimum": low, "maximum": high}
    if column.type == "timestamp":
        return {"type": "string", "format": "date-time"}
    if column.type == "category" and column.unseen == "refuse":
        return {"type": "string", "enum": list(column.categories)}
    limit = MAX_TEXT_CHARACTERS if column.type == "text" else MAX_CATEGORY_CHARACTERS
    return {"type": "string", "maxLength": limit}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        return {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "enum" in schema:  # client generators make a type of an enum, and null has no name in it
        return {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}


def _any_case(word: str) -> str:
    return "".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in word)


def _schemas(
    contract: Contract, max_rows: int, example: Mapping[str, Any] | None
) -> dict[str, Any]:
    identifier = {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_ID_CHARACTERS,
        "pattern": ID_PATTERN,
    }
    text = {"type": "string"}
    return {
        "Row": row_schema(contract, example),
        "PredictRequest": {
            "type": "object",
            "additionalProperties": False,
            "required": ["instances"],
            "properties": {
                "instances": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": max_rows,
                    "items": {"$ref": "#/components/schemas/Row"},
                },
                "ids": {
                    "type": "array",
                    "uniqueItems": True,
                    "maxItems": max_rows,
                    "description": (
                        "The caller's own ids, one a row: a repeated call with the same ids "
                        "marks the same predictions."
                    ),
                    "items": identifier,
                },
            },
        },
        "Predictions": {
            "type": "object",
            "required": ["predictions", "model"],
            "properties": {
                "predictions": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/Prediction"},
                },
                "model": {"$ref": "#/components/schemas/ModelName"},
            },
        },
        "Prediction": _prediction_schema(contract),
        "Explanation": {
            "type": "object",
            "description": "Exact, additive: `base` and all contributions sum to the score.",
            "required": ["scale", "outputs"],
            "properties": {
                "scale": {"type": "string", "description": "What the sums are in."},
                "outputs": {
                    "type": "object",
                    "additionalProperties": {"$ref": "#/components/schemas/Contributions"},
                },
            },
        },
        "Contributions": {
            "type": "object",
            "required": ["base", "contributions"],
            "properties": {
                "base": {"type": "number"},
                "contributions": {
                    "type": "object",
                    "description": "By column.",
                    "additionalProperties": {"type": "number"},
                },
            },
        },
        "Labels": {
            "type": "object",
            "additionalProperties": False,
            "required": ["labels"],
            "properties": {
                "labels": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": max_rows,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["id", "value"],
                        "properties": {"id": identifier, "value": _label_value(contract)},
                    },
                }
            },
        },
        "Accepted": {
            "type": "object",
            "required": ["accepted"],
            "properties": {"accepted": {"type": "integer", "minimum": 1}},
        },
        "ModelName": {
            "type": "object",
            "required": ["version", "run"],
            "properties": {"version": text, "run": text},
        },
        "Model": {
            "type": "object",
            "required": ["model", "contract"],
            "properties": {
                "model": {"$ref": "#/components/schemas/ModelName"},
                "contract": {"type": "object", "description": "What the model is given."},
                "metrics": {"type": "object", "description": "On the holdout, with intervals."},
                "lineage": {"type": "object", "description": "Data, commit, packages, seeds."},
            },
        },
        "Health": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"type": "string", "enum": ["ok", "no_model"]},
                "deployment": text,
                "model": {"anyOf": [{"$ref": "#/components/schemas/ModelName"}, {"type": "null"}]},
            },
        },
        "Problem": _PROBLEM,
    }


_PROBLEM = {
    "type": "object",
    "description": 'RFC 9457 ("Problem Details for HTTP APIs").',
    "required": ["type", "title"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors_omitted": {"type": "integer", "description": "Problems that did not fit."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["message", "code"],
                "properties": {
                    "row": {"type": "integer", "description": "Counted from 0."},
                    "column": {"type": "string"},
                    "message": {"type": "string"},
                    "code": {"type": "string"},
                },
            },
        },
    },
}


def _prediction_schema(contract: Contract) -> dict[str, Any]:
    properties: dict[str, Any] = {"id": {"type": "string"}}
    if contract.is_classification:
        answer = "label"
        properties["label"] = {"type": "string", "enum": list(contract.classes)}
        properties["probabilities"] = {
            "type": "object",
            "properties": {
                name: {"type": "number", "minimum": 0, "maximum": 1} for name in contract.classes
            },
        }
    elif contract.task == "regression":
        answer = "value"
        properties["value"] = {"type": "number"}
    elif contract.task == "anomaly":
        answer = "value"
        properties["label"] = {"type": "string", "enum": ["normal", "anomaly"]}
        properties["value"] = {"type": "number", "description": "The higher, the stranger."}
    else:
        answer = "label"
        properties["label"] = {"type": "string"}
        properties["scores"] = {"type": "object", "additionalProperties": {"type": "number"}}
    properties["unseen"] = {
        "type": "array",
        "description": "Columns whose category the model has never seen.",
        "items": {"type": "string"},
    }
    properties["explanation"] = {"$ref": "#/components/schemas/Explanation"}
    return {"type": "object", "required": ["id", answer], "properties": properties}


def _label_value(contract: Contract) -> dict[str, Any]:
    if contract.task == "regression":
        return {"type": "number"}
    names = list(contract.label_names)
    numbers = [int(name) for name in names if re.fullmatch(r"-?\d{1,15}", name)]
    spellings = [value for value in (*numbers, 0, 1, True, False) if _is_label(contract, value)]
    unique = {(type(value), value): value for value in spellings}
    return {"enum": [*names, *unique.values()]}


def _is_label(contract: Contract, value: int | bool) -> bool:
    with suppress(ContractError):
        contract.parse_label(value)
        return True
    return False


def _predict_summary(contract: Contract) -> str:
    what = {
        "binary": f"Predict {contract.target}: {' or '.join(contract.classes)}.",
        "multiclass": f"Predict {contract.target}, one of {len(contract.classes)} classes.",
        "regression": f"Predict {contract.target}, a number.",
        "anomaly": "Say how strange rows are.",
        "clustering": "Say which cluster rows belong to.",
    }
    return what[contract.task]


def _body(schema: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"required": True, "content": {"application/json": {"schema": reference}}}


def _answer(description: str, schema: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"description": description, "content": {"application/json": {"schema": reference}}}


def _errors(*statuses: int) -> dict[str, Any]:
    everywhere = (401, 403, 404, 405, 429, 500)
    return {
        str(status): {"$ref": f"#/components/responses/{_STATUSES[status][0]}"}
        for status in sorted({*statuses, *everywhere})
    }


def _responses() -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses: dict[str, Any] = {
        name: {"description": description, "content": content}
        for name, description in _STATUSES.values()
    }
    responses["TooManyRequests"]["headers"] = {
        "Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}
    }
    return responses
