"""Reference of the parameters, generated from the pydantic models and from conf/.

The models give type, range, unit and meaning. Defaults are the values that conf/ composes to.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from thaw.composition import compose
from thaw.config.audit import Audit
from thaw.config.backbone import Backbone
from thaw.config.base import Common, Section
from thaw.config.dataset import Dataset, Image, Split
from thaw.config.evaluation import Evaluate
from thaw.config.finetuning import Finetune
from thaw.config.optimizer import SGD, Adam, AdamW, RMSprop
from thaw.config.runtime import Local, Ray
from thaw.config.search import Range, Search
from thaw.config.subnet import DenseHead, Logistic, Tuned
from thaw.config.training import Augmentation, Loss, Training
from thaw.data.manifest.columns import Columns
from thaw.networks import cnn, dense, inception, resnet
from thaw.sources import cifar10, elpv, fashion_mnist, folder, manifest, published
from website import ROOT

OWN_IMAGES = ("dataset=folder", "dataset.source.path=PATH")


@dataclass(frozen=True)
class Table:
    """A table of the reference.

    Attributes:
        heading: the key of the section in params.yaml.
        model: declares the parameters.
        overrides: of the composition whose values are shown as defaults.
        keys: the section of the composition that has them.
        file: a file of conf/ that has them instead.
        without: a model whose fields another table has.
    """

    heading: str
    model: type[Section]
    overrides: tuple[str, ...] = ()
    keys: str = ""
    file: str = ""
    without: type[Section] | None = None

    def defaults(self) -> dict[str, Any]:
        """Return the values that conf/ gives the parameters."""
        if self.file:
            return yaml.safe_load((ROOT / "conf" / self.file).read_text(encoding="utf-8"))
        if not self.keys and not self.overrides:
            return {}
        values = composed(*self.overrides)
        for key in self.keys.split(".") if self.keys else ():
            values = values[key]
        return values


@functools.cache
def composed(*overrides: str) -> dict[str, Any]:
    """Return what conf/ composes to."""
    return compose(*overrides)


HEAD = "subnets.lite0_gap256"
DATASETS = {
    "folder": (folder, OWN_IMAGES),
    "manifest": (manifest, ("dataset=manifest", "dataset.source.path=PATH")),
    "elpv": (elpv, ("dataset=solar_cells",)),
    "cifar10": (cifar10, ("models=pixels", "dataset=cifar10")),
    "fashion_mnist": (fashion_mnist, ("models=pixels", "dataset=fashion_mnist")),
    "published": (published, ("dataset=cats_dogs",)),
}
FAMILIES = {
    "cnn": (cnn, "small_cnn"),
    "dense": (dense, "dense"),
    "inception": (inception, "inception"),
    "resnet": (resnet, "resnet"),
}
PAGES: dict[str, tuple[str, list[Table]]] = {
    "dataset": (
        "Values of `conf/dataset/folder.yaml`, which `thaw new` uses for a folder of images.",
        [
            Table("dataset", Dataset, OWN_IMAGES, "dataset"),
            Table("dataset.image", Image, OWN_IMAGES, "dataset.image"),
            Table("dataset.split", Split, OWN_IMAGES, "dataset.split"),
            *(
                Table(
                    f"dataset.source, kind {kind}", module.Parameters, overrides, "dataset.source"
                )
                for kind, (module, overrides) in DATASETS.items()
            ),
            Table(
                "dataset.source.columns, kind manifest",
                Columns,
                DATASETS["manifest"][1],
                "dataset.source.columns",
            ),
        ],
    ),
    "backbones": (
        "Values of `lite0` in the default run.",
        [Table("backbones.NAME", Backbone, (), "backbones.lite0")],
    ),
    "subnets": (
        "The head on cached features. Values of `lite0_gap256` (dense), `lite0_logistic` "
        "(logistic) and `conf/subnet/tuned.yaml` (tuned). Dense heads also have the parameters of "
        "a [training](training.md). How a search works: [search](../search.md).",
        [
            Table("subnets.NAME, kind dense", DenseHead, (), HEAD),
            Table("subnets.NAME, kind logistic", Logistic, (), "subnets.lite0_logistic"),
            Table(
                "subnets.NAME, kind tuned", Tuned, ("+subnet@subnets.tuned=tuned",), "subnets.tuned"
            ),
            Table("search", Search, ("+subnet@subnets.tuned=tuned",), "subnets.tuned.search"),
            Table("leaf of space", Range),
        ],
    ),
    "finetunes": (
        "Values of `lite0_finetuned` in the default run. Also has the parameters of a "
        "[training](training.md).",
        [
            Table("finetunes.NAME", Finetune, (), "finetunes.lite0_finetuned", without=Training),
            Table("augmentation", Augmentation, (), "finetunes.lite0_finetuned.augmentation"),
        ],
    ),
    "networks": (
        "A network is trained on pixels, without a backbone. Values of the files in `conf/network/`"
        " that each heading names. Networks also have the parameters of a [training](training.md).",
        [
            Table(
                f"networks.NAME, family {family} ({name}.yaml)",
                module.Parameters,
                file=f"network/{name}.yaml",
                without=Training,
            )
            for family, (module, name) in FAMILIES.items()
        ],
    ),
    "training": (
        "Parameters of every dense subnet, network and fine-tuning. Values of `lite0_gap256`, and "
        "of the files in `conf/optimizer/`.",
        [
            Table("training", Training, (), HEAD),
            Table("losses.TERM", Loss, (), f"{HEAD}.losses.main"),
            Table("optimizer, adam", Adam, file="optimizer/adam.yaml"),
            Table("optimizer, adamw", AdamW, file="optimizer/adamw.yaml"),
            Table("optimizer, rmsprop", RMSprop, file="optimizer/rmsprop.yaml"),
            Table("optimizer, sgd", SGD, file="optimizer/sgd.yaml"),
        ],
    ),
    "audits": (
        "Values of `audits.vgg16` in the default run.",
        [Table("audits.NAME", Audit, (), "audits.vgg16")],
    ),
    "other": (
        "Values of `conf/config.yaml` and `conf/runtime/`.",
        [
            Table("top level", Common, ("seed=0",)),
            Table("evaluate", Evaluate, (), "evaluate"),
            Table("runtime, kind local", Local, file="runtime/local.yaml"),
            Table("runtime, kind ray", Ray, file="runtime/ray.yaml"),
        ],
    ),
}
TITLES = {"other": "Seeds, evaluation, runtime"}


def pages() -> Iterator[tuple[str, str, str]]:
    """Yield the name, title and Markdown text of each page of the reference."""
    for name, (introduction, tables) in PAGES.items():
        title = TITLES.get(name, name.capitalize())
        parts = [f"# {title}", introduction, *(_section(table) for table in tables)]
        yield name, title, "\n\n".join(parts) + "\n"


def _section(table: Table) -> str:
    schema, defaults = table.model.model_json_schema(), table.defaults()
    hidden = set(table.without.model_fields) if table.without else set()
    rows = [
        f"| `{key}` | {_type(field, schema)} | {_default(key, table.model, defaults)} "
        f"| {_meaning(field, schema)} |"
        for key, field in schema["properties"].items()
        if key not in hidden
    ]
    head = "| parameter | type and range | default | meaning |\n|---|---|---|---|\n"
    text = (table.model.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")
    return f"## {table.heading}\n\n{' '.join(text.split())}\n\n{head}" + "\n".join(rows)


def _default(key: str, model: type[Section], defaults: dict[str, Any]) -> str:
    field = model.model_fields[key]
    value = defaults.get(key, ... if field.is_required() else field.default)
    if value is ... or value == "PATH":
        return ""
    if isinstance(value, dict) and value and any(isinstance(v, dict) for v in value.values()):
        return "section"
    text = json.dumps(value, ensure_ascii=False).replace('"', "") if value != "" else "empty"
    if len(text) > 40:
        return "section" if isinstance(value, dict) else f"`{text[:16]}…`"
    return f"`{text}`"


def _meaning(field: dict[str, Any], schema: dict[str, Any]) -> str:
    if "description" not in field and "$ref" in field:  # the class has the same description
        field = schema["$defs"][field["$ref"].rpartition("/")[2]]
    return " ".join(field.get("description", "").split()).replace("|", "\\|")


def _type(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return the type of a field with its range and unit, in words."""
    if "unit" in field:
        text = _type({key: value for key, value in field.items() if key != "unit"}, schema)
        return f"{text}; {field['unit']}"
    if "$ref" in field:
        return _type(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    if "oneOf" in field or "anyOf" in field:
        options = field.get("oneOf") or field["anyOf"]
        names = [_type(option, schema) for option in options]
        return " or ".join(dict.fromkeys(names))
    if "enum" in field or "const" in field:
        return ", ".join(f"`{each}`" for each in field.get("enum") or [field["const"]])
    kind = field.get("type")
    if kind == "array":
        items = _type(field["items"], schema) if field.get("items") else "values"
        least = field.get("minItems", 0)
        count = f"{least} of " if least and least == field.get("maxItems") else ""
        return f"list, {count}each {items}"
    names = {
        "integer": "integer",
        "number": "number",
        "string": "text",
        "boolean": "`true`, `false`",
    }
    names |= {"null": "null", "object": "section"}
    return names.get(kind or "", "value") + _range(field)


def _range(field: dict[str, Any]) -> str:
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f", {_number(low)} to {_number(high)}"
    parts = [
        f"{sign} {_number(limit)}"
        for sign, limit in (("≥", low), (">", above), ("≤", high), ("<", below))
        if limit is not None
    ]
    return f", {', '.join(parts)}" if parts else ""


def _number(value: float) -> str:
    if isinstance(value, int) and value >= 2**20:
        return "2³¹" if value == 2**31 else f"{value:,}"
    return f"{value:,g}" if not isinstance(value, int) else f"{value:,}"
