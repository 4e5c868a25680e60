"""Invalid files of parameters, and the code that reads them."""

import copy
import os
import random
from collections.abc import Iterator
from pathlib import Path

import yaml
from dvc.utils.serialize import load_yaml

from thaw.composition import validate_composition
from thaw.config.audit import Audit
from thaw.config.backbone import Backbone
from thaw.config.base import Common, load_section, read_params, read_value
from thaw.config.dataset import Dataset, Image, Split
from thaw.config.evaluation import Evaluate
from thaw.config.finetuning import Finetune
from thaw.config.subnet import validate_subnet
from thaw.data.registry import validate_source
from thaw.models.registry import validate_network

ALLOWED = {
    "subprocess.Popen",
    "os.posix_spawn",
}  # Keras lists a backbone's layers
ROOT = Path(__file__).parents[3]


def target(argument: dict) -> None:
    """Read a file as `dvc exp run` does (how: composition), or as the stages do (how: stages)."""
    os.chdir(Path(argument["file"]).parent)
    if argument["how"] == "composition":
        validate_composition(read_params())
        return
    validate_source(read_params("dataset", "source"))
    (
        load_section(Image, "dataset", "image"),
        load_section(Split, "dataset", "split"),
        load_section(Evaluate, "evaluate"),
    )
    for key in ("max_train_images", "positive_class", "on_bad_image", "allowed_flips", "name"):
        read_value(Dataset, "dataset", key)
    for key in ("seed", "threads"):
        read_value(Common, key)
    for group, check in (
        ("backbones", lambda name: load_section(Backbone, "backbones", name)),
        ("subnets", lambda name: validate_subnet(read_params("subnets", name), name)),
        ("networks", lambda name: validate_network(read_params("networks", name), name)),
        ("finetunes", lambda name: load_section(Finetune, "finetunes", name)),
        ("audits", lambda name: load_section(Audit, "audits", name)),
    ):
        for name in read_params(group) if isinstance(read_params(group), dict) else ["any"]:
            check(name)


DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
VALUES = [None, True, -1, 10**30, float("nan"), "", "\x1b[2J\0\n", "9" * 5000, [None], {"a": {}}]


def real() -> dict:
    """Return the repository's parameters, without the derived ones, which nobody may set."""
    values = load_yaml(str(ROOT / "params.yaml"))  # PyYAML reads 1e-07 as text
    del values["derived"]
    return values


def warm() -> None:
    """Make Keras list VGG16's layers before memory is limited."""
    validate_composition(real())


def keys_of(values, *above) -> Iterator[tuple]:
    """Yield the keys of every value and section."""
    for key, value in values.items() if isinstance(values, dict) else ():
        yield *above, key
        yield from keys_of(value, *above, key)


def corpus() -> Iterator[tuple[str, str]]:
    """Yield files with one key missing, one unknown key, or one wrong value."""
    whole = real()
    for keys in keys_of(whole):
        *above, last = keys
        label = ".".join(map(str, keys))

        def changed(change, above=above) -> str:
            values = copy.deepcopy(whole)
            section = values
            for key in above:
                section = section[key]
            change(section)
            return yaml.dump(values, Dumper=DUMPER)

        yield f"{label} missing", changed(lambda section, last=last: section.pop(last))
        unknown = changed(lambda section, last=last: section.update({f"{last}x": 1}))
        yield f"{label}x unknown", unknown
        marked = changed(lambda section, last=last: section.update({last: "MARK"}))
        for value in VALUES:
            text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
            yield f"{label} = {value!r:.20}", marked.replace("MARK", text.removesuffix("...\n"))


def texts() -> Iterator[tuple[str, bytes, str | None]]:
    """Yield a label, the content and the expected outcome of files that are not parameters."""
    whole = (ROOT / "params.yaml").read_bytes()
    yield "the real one", whole, "accepted"
    yield "empty", b"", "refused"
    yield "a list", b"- 1\n- 2\n", "refused"
    yield "a word", b"params\n", "refused"
    yield "not UTF-8", whole.replace(b"solar_cells", b"solar\xff\xfe"), "refused"
    yield "UTF-16", whole.decode().encode("utf-16"), "refused"
    yield "with a byte order mark", b"\xef\xbb\xbf" + whole, None
    yield "tabs", whole.replace(b"    ", b"\t"), "refused"
    yield "a NUL", whole + b"\0", "refused"
    yield "an unfinished list", whole + b"a: [1", "refused"
    yield "a key twice", whole + b"seed: 1\n", None
    laughs = b"a0: &a0 [x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 30)
    )
    yield "aliases of aliases", laughs, "refused"
    yield "an alias to itself", whole + b"x: &x [*x]\n", "refused"
    yield "merged keys", b"d: &d {seed: 1}\n<<: *d\n" + whole, "refused"
    yield "deeper than a stack", b"[" * 100_000, "refused"
    yield (
        "deeper than a stack, by indents",
        b"".join(b" " * n + b"a:\n" for n in range(900)),
        "refused",
    )
    yield "a Python object", b"x: !!python/object/apply:os.system ['touch evil']\n", "refused"
    yield "an unknown tag", whole + b"x: !evil 1\n", "refused"
    yield (
        "a number of a million digits",
        whole.replace(b"seed: 0", b"seed: 1" + b"0" * 10**6),
        "refused",
    )
    yield "ten megabytes", whole + b"#" * 10**7, "refused"
    yield "a sexagesimal number", whole.replace(b"seed: 0", b"seed: 1:2:3"), None
    yield "a date", whole.replace(b"seed: 0", b"seed: 2001-99-99"), "refused"
    yield "two documents", whole + b"---\n" + whole, "refused"


def seeds(chance: random.Random) -> list[bytes]:
    return [(ROOT / "params.yaml").read_bytes()]
