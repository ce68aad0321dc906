"""What the document says, in the form in which it can be held against an exchange."""

import json
from copy import deepcopy
from typing import Any
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator as Validator

from .server import PROBLEM, Exchange

# Of all headers of answers, those that are the server's own, or that a status makes important.
NOTEWORTHY = ("throttle-", "retry-after", "allow", "www-authenticate")

# What a path answers that the document does not have, or not with this method.
BESIDE = {
    "404": {"$ref": "#/components/responses/NotFound"},
    "405": {"$ref": "#/components/responses/MethodNotAllowed"},
}

Json = dict[str, Any]


class Described:
    """A document of the server, and the rules that follow from it."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self._components = deepcopy(document["components"])
        for schema in self._components["schemas"].values():
            self._close(schema)

    def _close(self, schema: Json) -> None:
        """Forbid fields that are not described: answers may get more of them, but not unnoticed."""
        for part in schema.pop("allOf", ()):
            part = self._resolved(part)
            self._close(part)
            schema["type"] = "object"
            schema.setdefault("properties", {}).update(part["properties"])
            schema["required"] = schema.get("required", []) + part["required"]
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)

    def _resolved(self, value: Json) -> Json:
        """Follow a reference, if it is one."""
        if "$ref" not in value:
            return value
        _, components, kind, name = value["$ref"].split("/")
        assert components == "components"
        found: Json = self._components[kind][name]
        return found

    def check(self, schema: Json, value: object) -> None:
        """Fail where the value is not as the schema says."""
        whole = {**schema, "components": self._components}
        Validator(whole, format_checker=Validator.FORMAT_CHECKER).validate(value)

    def check_component(self, name: str, value: object) -> None:
        """Fail where the value is not as the component of that name says."""
        self.check({"$ref": f"#/components/schemas/{name}"}, value)

    def operation(self, exchange: Exchange) -> Json:
        """Return what the document says of the operation."""
        found: Json = self.document["paths"][exchange.pattern][exchange.method.lower()]
        return found

    def check_request(self, exchange: Exchange) -> None:
        """Fail where a request that was answered well is not as the document wants it."""
        operation = self.operation(exchange)
        given: dict[tuple[str, str], Any] = {
            ("path", name): text for name, text in exchange.names.items()
        }
        query = exchange.query or {}
        pairs = query.items() if isinstance(query, dict) else parse_qsl(query)
        given.update({("query", name): text for name, text in pairs})
        for parameter in operation.get("parameters", ()):
            text = given.pop((parameter["in"], parameter["name"]), None)
            assert text is not None or not parameter["required"], parameter
            if text is not None:
                self.check(parameter["schema"], self._read(parameter["schema"], text))
        assert not given, f"not described: {given}"
        described = operation.get("requestBody")
        assert (exchange.body is not None) == (described is not None)
        if described and exchange.body is not None:
            schema = described["content"]["application/json"]["schema"]
            self.check(schema, json.loads(exchange.body))

    def check_answer(self, exchange: Exchange) -> None:
        """Fail where an answer is not as the document says."""
        item = self.document["paths"].get(exchange.pattern, {})
        operation = item.get(exchange.method.lower(), {})
        said = (BESIDE | operation.get("responses", {}))[str(exchange.status)]
        response = self._resolved(said)
        self._check_headers(response["headers"], exchange)
        schema = response["content"][exchange.media_type].get("schema", {})
        if exchange.media_type in ("application/json", PROBLEM):
            self.check(schema, exchange.value)
        if exchange.media_type == PROBLEM:
            # The description of a reference goes before that of what it refers to.
            reasons = {**response, **said}["description"]
            assert f"\n- `{exchange.value['code']}`: " in reasons, reasons

    def _check_headers(self, described: Json, exchange: Exchange) -> None:
        described = {name.lower(): header for name, header in described.items()}
        for name, text in exchange.headers.items():
            if name.startswith(NOTEWORTHY):
                schema = self._resolved(described[name])["schema"]
                self.check(schema, self._read(schema, text))
        assert "throttle-instance" in exchange.headers

    def _read(self, schema: Json, text: str) -> object:
        """Read a text as what it stands for in a path, a query or a header."""
        is_text = self._resolved(schema)["type"] == "string"
        return text if is_text else json.loads(text)
