"""Render the two pages: one to classify images, and the reference of the HTTP API."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from thaw.data.formats import READ
from thaw.report import page as report
from thaw.serve.predictor import Predictor

if TYPE_CHECKING:
    from thaw.serve.app import Limits

HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
LISTED_CLASSES = 12  # classes that the page lists by name


def front_page(name: str, predictor: Predictor, limits: "Limits") -> str:
    """Return the HTML of /, which loads nothing from the server but results of /predict."""
    classes, nearest = predictor.bundle.classes, predictor.nearest_images
    settings = {
        "model": name,
        "classes": classes,
        "bytes": limits.bytes,
        "features": None if nearest.problem else nearest.name,
    }
    return _render(
        "page.html",
        settings=settings,
        listed_classes=LISTED_CLASSES,
        has_maps=predictor.has_maps,
        problem=nearest.problem,
        limits=limits,
        size=report.size,
        number=report.number,
        accepted=",".join(["image/*", *READ]),
        script=Markup(report.asset("shared.js") + _text("page.js")),
    )


def reference_page(openapi: dict[str, Any], url: str) -> str:
    """Return the HTML of /docs: the content of /openapi.json, without a script.

    Args:
        openapi: the OpenAPI document of the application.
        url: the URL of this server, for the examples.
    """
    schemas = openapi["components"]["schemas"]

    def type_name(schema: dict[str, Any]) -> str:
        """Return a schema's type in words, or the name of the schema that it refers to."""
        if "$ref" in schema:
            return str(schema["$ref"]).rpartition("/")[2]
        if "anyOf" in schema:
            return " or ".join(type_name(each) for each in schema["anyOf"])
        if schema.get("type") == "array":
            return f"list of {type_name(schema['items'])}"
        if isinstance(schema.get("additionalProperties"), dict):
            return f"object of {type_name(schema['additionalProperties'])}s"
        if "contentMediaType" in schema or schema.get("format") == "binary":
            return "file"
        return str(schema.get("type", "anything"))

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
        type_name=type_name,
        url=url,
    )


def _render(template: str, **values: Any) -> str:
    style = Markup(report.asset("page.css") + _text("page.css"))
    return (
        report.templates(HERE).get_template(template).render(style=style, json=json.dumps, **values)
    )


def _text(file: str) -> str:
    return (HERE / file).read_text(encoding="utf-8")
