"""Base class of the sections of params.yaml, and how the file is read and validated."""

import difflib
import functools
import os
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thaw.config.renamed import renamed
from thaw.errors import UserError


class Section(BaseModel):
    """A section of params.yaml: immutable, without unknown keys or implicit type conversions."""

    model_config = ConfigDict(
        allow_inf_nan=False,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
    )


def unit(name: str) -> Any:
    """Return the annotation of a parameter's unit, which the reference of parameters shows."""
    return Field(json_schema_extra={"unit": name})


class Common(Section):
    """The parameters at the top level of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    """Seed of every training."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None
    """Threads of a training; null: all cores. Their number changes the last bits of a model, so
    another number trains all models again."""


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML loader that reads what DVC writes: YAML 1.2, in which `2e-05` is a number and `yes` and
    `1:30` are text. PyYAML itself reads YAML 1.1.
    """

    yaml_implicit_resolvers = {
        first: [entry for entry in entries if entry[0].rsplit(":")[-1] not in ("bool", "int")]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_integer(self, node: yaml.Node) -> int:
        """Return an integer: `010` is ten."""
        text = self.construct_scalar(node)
        return int(text, 0 if text.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else 10)


for kind, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9][0-9_]*|[-+]?0(b[01_]+|o[0-7_]+|x[0-9a-fA-F_]+)", "-+0123456789"),
    ("float", r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+", "-+0123456789"),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"({pattern})$"), first)
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_integer)
MAX_DEPTH = 50  # levels of params.yaml; conf/ composes to 6
MAX_CHARACTERS = 1_000_000  # of params.yaml; the largest that conf/ composes to has 10,000

S = TypeVar("S", bound=Section)


def load_section(section: type[S], *keys: str, file: str | Path = "params.yaml") -> S:
    """Return the section of `file` under `keys`, validated.

    Raises:
        UserError: the section is missing, or a value in it is invalid.
    """
    return validate(section, read_params(*keys, file=file), *keys)


def read_params(*keys: str, file: str | Path = "params.yaml") -> Any:
    """Return the value of `file` under `keys`, not validated. Do not change it: it is cached.

    Raises:
        UserError: the file cannot be read, or a key is missing.
    """
    try:
        stat = os.stat(file)
        values = _parse(os.path.abspath(file), stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{file} cannot be read: {reason}. Run `dvc exp run` to compose it again."
        ) from None
    for depth, key in enumerate(keys):
        if not isinstance(values, dict) or key not in values:
            known = list(values) if isinstance(values, dict) else []
            raise UserError(
                f"{'.'.join(keys[: depth + 1])} is not in {file}.{did_you_mean(key, known)}"
                f" Known here: {', '.join(map(str, known)) or 'nothing'}."
            )
        values = values[key]
    return values


def read_value(section: type[S], *keys: str, file: str | Path = "params.yaml") -> Any:
    """Return one value of `file`, validated as the field of `section` that the last key names.

    Raises:
        UserError: the value is missing or invalid.
    """
    value = read_params(*keys, file=file)
    try:
        section.model_validate({keys[-1]: value})
    except ValidationError as error:  # the other fields are missing here
        wrong = [item for item in error.errors() if item["loc"][0] == keys[-1]]
        if wrong:
            raise UserError(_line(section, wrong[0], keys[:-1])) from None
    return value


@functools.lru_cache(maxsize=4)
def _parse(file: str, *_: int) -> Any:
    """Return the content of a YAML file; the other arguments tell its versions apart."""
    text = Path(file).read_text(encoding="utf-8")
    depth = 0
    for event in yaml.parse(text, Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or isinstance(event, yaml.AliasEvent) or len(text) > MAX_CHARACTERS:
            raise ValueError("it is too long, nested too deeply, or has aliases (*)")
    values = yaml.load(text, Loader)
    if not isinstance(values, dict):
        raise ValueError("expected keys with values")
    return values


def validate(section: type[S], values: Any, *keys: str) -> S:
    """Return `values` as an object of the class `section`.

    Args:
        section: the class.
        values: a dictionary, as read from YAML.
        keys: the keys of `values` in params.yaml, for messages.

    Raises:
        UserError: lists each invalid key with its value and what was expected.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        lines = [_line(section, item, keys) for item in error.errors()]
        raise UserError("\n      ".join(lines)) from None


def did_you_mean(name: Any, known: Iterable[Any]) -> str:
    """Return " Did you mean X?" for the known name most like `name`, or an empty string.

    Example:
        >>> did_you_mean("dropuot", ["dropout", "units"])
        ' Did you mean dropout?'
    """
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def _line(section: type[Section], item: Any, keys: tuple[str, ...]) -> str:
    """Return the message for one of pydantic's errors."""
    location, fields = _locate(section, item["loc"])
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
    if item["type"] == "string_type" and isinstance(item["input"], bool | int | float):
        text = str(item["input"]).lower()
        return f"{key} = {text}: expected text. Quote it twice: -S '{key}=\"{text}\"'."
    expected = item["msg"].removeprefix("Value error, ")
    expected = expected[0].lower() + expected[1:]
    return f"{key} = {item['input']!r:.200}: {expected}.{_suggest(item)}"


def _locate(annotation: Any, location: tuple[Any, ...]) -> tuple[list[Any], dict[str, Any]]:
    """Return the location of one of pydantic's errors and the fields of the section around it.

    Pydantic adds the names of the members of a union to a location; they are left out.
    """
    parts: list[Any] = []
    fields: dict[str, Any] = {}
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
    return next(iter(typing.get_args(name.annotation)), None) if name else None


def _suggest(item: Any) -> str:
    """Return a suggestion for an unknown choice, or an empty string."""
    choices = item.get("ctx", {}).get("expected", "").replace(" or ", ", ").split(", ")
    return did_you_mean(item["input"], [name.strip("'") for name in choices])
