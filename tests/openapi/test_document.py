"""The document is one as OpenAPI wants it."""

from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from .server import running


def test_document_is_valid(tmp_path: Path) -> None:
    """Programs that read such documents can read this one."""
    with running(tmp_path, "") as server:
        document = server.send("GET", "/openapi.json").value

    validate(document, cls=OpenAPIV31SpecValidator)
