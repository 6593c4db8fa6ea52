"""The OpenAPI 3.1 document, made from the route table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from metricsmith import __version__
from metricsmith.api.errors import json_response, problems_error, prometheus_error
from metricsmith.api.routes import Operation, Parameter

FORM = "application/x-www-form-urlencoded"
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9]+")
_FORM_ERRORS = {408: "The form does not arrive in time.", 413: "The form is too large."}
_ERRORS: dict[str, Any] = {
    "PrometheusError": {
        "type": "object",
        "required": ["status", "errorType", "error"],
        "properties": {
            "status": {"const": "error"},
            "errorType": {"type": "string"},
            "error": {"type": "string"},
        },
    },
    "FieldErrors": {
        "type": "object",
        "required": ["error", "problems"],
        "properties": {
            "error": {"type": "string"},
            "problems": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in ("field", "got", "wanted", "hint")},
                },
            },
        },
    },
}
_ERROR_NAMES: dict[Any, str] = {prometheus_error: "PrometheusError", problems_error: "FieldErrors"}
"""The shapes of refusals that are described; other protocols have theirs."""


class OpenApi:
    """Serves the description of the operations, itself among them."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations

    def operations(self) -> list[Operation]:
        """Return the operation of this group."""
        summary, group = "This document.", "Health and status"
        return [Operation("/openapi.json", ("GET",), self._document, summary, group, always=True)]

    async def _document(self, request: Request) -> Response:
        return json_response(describe([*self._operations, *self.operations()]))


def describe(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the OpenAPI document of operations."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        for method in operation.methods:
            path = operation.path.replace(":path}", "}")  # a parameter that takes slashes
            paths.setdefault(path, {})[method.lower()] = _operation(operation, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "metricsmith", "version": __version__},
        "paths": paths,
        "components": {"schemas": _ERRORS},
    }


def _operation(operation: Operation, method: str) -> dict[str, Any]:
    as_form = operation.form and method == "POST"
    path = operation.path.replace("/-/", "/dash/")  # else /ready and /-/ready had one id
    answers = {**operation.answers, **(_FORM_ERRORS if as_form else {})}
    described: dict[str, Any] = {
        "operationId": _NOT_IN_ID.sub("_", f"{method.lower()}{path}").rstrip("_"),
        "summary": operation.summary,
        "tags": [operation.group],
        "responses": {str(code): _answer(operation, code, text) for code, text in answers.items()},
    }
    in_address = [p for p in operation.parameters if not as_form or p.place == "path"]
    if in_address:
        described["parameters"] = [_parameter(p) for p in in_address]
    if as_form:
        described["requestBody"] = {"content": {FORM: {"schema": _form(operation.parameters)}}}
    elif operation.body is not None:
        content: dict[str, Any] = {"schema": operation.body.schema}
        if operation.body.example is not None:
            content["example"] = operation.body.example
        forms = {operation.body.media_type: content}
        forms |= {name: {"schema": schema} for name, schema in operation.body.also.items()}
        described["requestBody"] = {"required": True, "content": forms}
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.required,
        "schema": _schema(parameter),
    }


def _form(parameters: Sequence[Parameter]) -> dict[str, Any]:
    fields = [p for p in parameters if p.place == "query"]
    return {
        "type": "object",
        "required": [p.name for p in fields if p.required],
        "properties": {p.name: _schema(p) | {"description": p.description} for p in fields},
    }


def _schema(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.schema)
    return {"type": "array", "items": schema} if parameter.repeated else schema


def _answer(operation: Operation, code: int, text: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": text}
    if code >= 400 and operation.media_type == "application/json":
        name = _ERROR_NAMES.get(operation.error)
        reference = {"$ref": f"#/components/schemas/{name}"}
        answer["content"] = {"application/json": {} if name is None else {"schema": reference}}
    elif code != 204:
        schema = {} if operation.answer is None or code >= 300 else {"schema": operation.answer}
        answer["content"] = {operation.media_type: schema}
    return answer
