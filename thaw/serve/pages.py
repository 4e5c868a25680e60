"""The two pages: where images are tried, and the reference of the HTTP interface."""

import json
from pathlib import Path

from markupsafe import Markup

from thaw.data.class_folders import IMAGES
from thaw.report import page as report

HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
MOST_NAMED = 12
"""Classes."""


def front(name: str, served, limits) -> str:
    """The page at /: everything in one, it asks for nothing but /predict."""
    trained, neighbours = served.trained, served.neighbours
    told = {
        "model": name,
        "classes": trained.classes,
        "bytes": limits.bytes,
        "features": None if neighbours.problem else neighbours.name,
    }
    return _render(
        "page.html",
        told=told,
        most_named=MOST_NAMED,
        looks=served.looks,
        problem=neighbours.problem,
        limits=limits,
        size=report.size,
        number=report.number,
        accepted=",".join(["image/*", *IMAGES]),
        script=Markup(report.text("shared.js") + _text("page.js")),
    )


def reference(openapi: dict, url: str) -> str:
    """The page at /docs: what /openapi.json says, as HTML without a script.

    Args:
        url: of this server, for the examples.
    """
    schemas = openapi["components"]["schemas"]

    def named(schema: dict) -> str:
        """What a schema is, in words; another one by its name."""
        if "$ref" in schema:
            return schema["$ref"].rpartition("/")[2]
        if "anyOf" in schema:
            return " or ".join(named(each) for each in schema["anyOf"])
        if schema.get("type") == "array":
            return f"list of {named(schema['items'])}"
        if isinstance(schema.get("additionalProperties"), dict):
            return f"object of {named(schema['additionalProperties'])}s"
        if "contentMediaType" in schema or schema.get("format") == "binary":
            return "file"
        return schema.get("type", "anything")

    operations = [
        (method.upper(), path, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    return _render(
        "reference.html",
        openapi=openapi,
        operations=operations,
        schemas={n: s for n, s in schemas.items() if "ValidationError" not in n},
        named=named,
        url=url,
    )


def _render(template: str, **values) -> str:
    style = Markup(report.text("page.css") + _text("page.css"))
    return (
        report.templates(HERE).get_template(template).render(style=style, json=json.dumps, **values)
    )


def _text(file: str) -> str:
    return (HERE / file).read_text(encoding="utf-8")
