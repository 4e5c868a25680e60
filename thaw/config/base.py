"""What every section of params.yaml is: typed, with units and ranges, and refused in one line."""

import difflib
import re
import types
import typing
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thaw.config.renamed import renamed
from thaw.errors import UserError


class Section(BaseModel):
    """A section of params.yaml. Unknown keys and wrong types are refused; values are final."""

    model_config = ConfigDict(
        allow_inf_nan=False,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
    )


class Common(Section):
    """The top level of params.yaml, but for its sections."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    threads: Annotated[int, Field(ge=1, le=1024)] | None
    """Of a training's arithmetic; none: as many as there are cores. The number has a part in the
    last bits of what is trained, so another one trains anew."""


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads `2e-05` and `1e-1` as numbers: DVC writes YAML 1.2, and PyYAML reads 1.1."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"),
    list("-+0123456789"),
)
MOST_DEPTH = 50
MOST_TEXT = 1_000_000
"""Letters of params.yaml; the largest that conf/ composes to has 10,000."""

S = TypeVar("S", bound=Section)


def load_section(section: type[S], *keys: str, file: str | Path = "params.yaml") -> S:
    """The section of `file` under `keys`, checked.

    Raises:
        UserError: the section is absent or a value in it is not what `section` declares.
    """
    return validate(section, read_params(*keys, file=file), *keys)


def read_params(*keys: str, file: str | Path = "params.yaml"):
    """The value of `file` under `keys`, as it stands there."""
    values = _parsed(file)
    for depth, key in enumerate(keys):
        if not isinstance(values, dict) or key not in values:
            known = list(values) if isinstance(values, dict) else []
            raise UserError(
                f"{'.'.join(keys[: depth + 1])} is not in {file}.{did_you_mean(key, known)}"
                f" Known here: {', '.join(map(str, known)) or 'nothing'}."
            )
        values = values[key]
    return values


def read_value(section: type[S], *keys: str, file: str | Path = "params.yaml"):
    """One value of `file`, checked as the field of `section` that its last key names.

    Raises:
        UserError: it is absent, or not what `section` declares.
    """
    value = read_params(*keys, file=file)
    try:
        section.model_validate({keys[-1]: value})
    except ValidationError as error:  # the other fields are missing, and not asked for
        wrong = [item for item in error.errors() if item["loc"][0] == keys[-1]]
        if wrong:
            raise UserError(_line(section, wrong[0], keys[:-1])) from None
    return value


def _parsed(file: str | Path):
    try:
        text = Path(file).read_text(encoding="utf-8")
        depth = 0
        for event in yaml.parse(text, Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH or isinstance(event, yaml.AliasEvent) or len(text) > MOST_TEXT:
                raise ValueError("it is large, deep, or repeats parts by *, as no composed one is")
        return yaml.load(text, Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{file} cannot be read: {reason}. `dvc exp run` composes it anew."
        ) from None


def validate(section: type[S], values, *keys: str) -> S:
    """`values` as a `section`; `keys` say where they stand, for the message.

    Raises:
        UserError: names every key that is wrong, its value and what was expected.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        lines = [_line(section, item, keys) for item in error.errors()]
        raise UserError("\n      ".join(lines)) from None


def did_you_mean(name: str, known) -> str:
    """' Did you mean X?' for the known name most like `name`, or nothing."""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def _line(section: type[Section], item: dict, keys: tuple[str, ...]) -> str:
    """Return the message for one of pydantic's errors."""
    location, fields = _located(section, item["loc"])
    where = [*keys, *(str(part) for part in location)]
    key = ".".join(where)
    if item["type"] == "extra_forbidden":
        return renamed(key) or (
            f"{key} is no parameter.{did_you_mean(where[-1], fields)} "
            f"{'.'.join(where[:-1]) or 'params.yaml'} takes: {', '.join(fields)}."
        )
    if item["type"] == "missing":
        return f"{key} is missing."
    if item["type"] == "union_tag_invalid":
        tag, expected = item["ctx"]["tag"], item["ctx"]["expected_tags"].replace("'", "")
        suggestion = did_you_mean(tag, expected.split(", "))
        return f"{key}.name = {tag!r:.200}: expected one of {expected}.{suggestion}"
    expected = item["msg"].removeprefix("Value error, ")
    expected = expected[0].lower() + expected[1:]
    return f"{key} = {item['input']!r:.200}: {expected}.{_suggest(item)}"


def _located(annotation: Any, location: tuple) -> tuple[list, dict]:
    """Return where pydantic found an error, without the names that it adds for the member of a
    union, and the fields of the section that holds the last part."""
    parts, fields = [], {}
    for part in location:
        while typing.get_origin(annotation) in (typing.Union, types.UnionType, Annotated):
            members = typing.get_args(annotation)
            tagged = {_tag(member): member for member in members}
            if part in tagged:
                break
            annotation = members[0]
        else:
            parts.append(part)
            fields = getattr(annotation, "model_fields", {})
            if part in fields:
                annotation = fields[part].annotation
            elif not fields and typing.get_args(annotation):
                annotation = typing.get_args(annotation)[-1]
            continue
        annotation = tagged[part]
    return parts, fields


def _tag(member: Any) -> Any:
    """Return the literal `name` of a section that is a member of a union."""
    name = getattr(member, "model_fields", {}).get("name")
    return (
        typing.get_args(name.annotation)[0] if name and typing.get_args(name.annotation) else None
    )


def _suggest(item: dict) -> str:
    expected = item.get("ctx", {}).get("expected", "")
    return did_you_mean(
        item["input"], [name.strip("'") for name in expected.replace(" or ", ", ").split(", ")]
    )
