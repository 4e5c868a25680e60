"""Compose conf/ and validate everything that it composes to, each section alone and against others."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from contextvars import ContextVar
from pathlib import Path

import yaml

from thaw.config.audit import Audit
from thaw.config.backbone import Backbone
from thaw.config.base import Common, did_you_mean, validate
from thaw.config.dataset import Dataset
from thaw.config.evaluation import Evaluate
from thaw.config.finetuning import Finetune
from thaw.config.runtime import validate_runtime
from thaw.config.subnet import validate_subnet
from thaw.config.training import loss_file
from thaw.data.inventory import INVENTORY
from thaw.data.registry import source_module, validate_source
from thaw.errors import UserError
from thaw.models.registry import validate_network
from thaw.storage.files import remove
from thaw.storage.store import CachedValue

SCHEME = 2
"""Raised when parameters change their meaning or their place."""


class Composition(Common):
    """The top level of params.yaml, without the section `derived`."""

    runtime: dict
    backbones: dict
    subnets: dict
    networks: dict
    finetunes: dict
    audits: dict
    evaluate: dict
    dataset: dict


def validate_composition(values: dict) -> None:
    """Check every parameter, alone and against the others.

    Raises:
        UserError: names the key, its value, what was expected and the nearest valid name.
    """
    whole = validate(Composition, {key: values[key] for key in values if key != "derived"})
    dataset = validate(Dataset, whole.dataset, "dataset")
    validate_source(whole.dataset["source"])
    validate(Evaluate, whole.evaluate, "evaluate")
    validate_runtime(whole.runtime)
    backbones = {n: validate(Backbone, v, "backbones", n) for n, v in whole.backbones.items()}
    subnets = {n: validate_subnet(v, n) for n, v in whole.subnets.items()}
    for name, values in whole.networks.items():
        validate_network(values, name)
    finetunes = {n: validate(Finetune, v, "finetunes", n) for n, v in whole.finetunes.items()}
    audits = {n: validate(Audit, v, "audits", n) for n, v in whole.audits.items()}

    seen: dict[str, str] = {}
    for group in ("subnets", "networks", "finetunes"):
        for name in getattr(whole, group):
            if name in seen:
                raise UserError(
                    f"{group}.{name} and {seen[name]}.{name} have one name, and would write the "
                    f"same files. Rename one of them."
                )
            seen[name] = group

    for name, chosen in backbones.items():
        layers_to_thaw(chosen.application, dataset.image.size, f"backbones.{name}.application")
    for name, chosen in subnets.items():
        _composed(f"subnets.{name}.features", chosen.features, "backbones", backbones)
    for name, chosen in audits.items():
        _composed(f"audits.{name}.features", chosen.features, "backbones", backbones)
    for name, chosen in finetunes.items():
        key = f"finetunes.{name}"
        _composed(f"{key}.subnet", chosen.subnet, "subnets", subnets)
        start = subnets[chosen.subnet]
        if start.kind != "dense":
            raise UserError(
                f"{key}.subnet = {chosen.subnet!r}: expected a subnet of kind dense; a "
                f"{start.kind} one cannot be trained on with its backbone."
            )
        if chosen.thaw_from is not None:
            application = backbones[start.features].application
            names = layers_to_thaw(application, dataset.image.size, f"backbones.{start.features}")
            if chosen.thaw_from not in names:
                raise UserError(
                    f"{key}.thaw_from = {chosen.thaw_from!r}: expected a layer of {application} "
                    f"that has a single tensor before it.{did_you_mean(chosen.thaw_from, names)} "
                    f"Its layers: {', '.join(names)}."
                )


def layers_to_thaw(application: str, size: int, key: str) -> list[str]:
    """The layers at which `application` can be cut, in order, as told by Keras in a process of
    its own (it takes seconds to start) and remembered in the store.

    Raises:
        UserError: there is no such application, or it cannot take images of `size` pixels.
    """
    from importlib.metadata import version

    if not application.isidentifier():
        raise UserError(f"{key}: {application!r:.200} is no network of keras.applications.")
    asked = f"{application} {size} keras {version('keras')}"
    note = CachedValue("layers", asked)
    if not isinstance(names := note.read(), list):
        answer = subprocess.run(
            [sys.executable, "-m", "thaw.models.backbones.describe", application, str(size)],
            capture_output=True,
            text=True,
        )
        if answer.returncode:
            reason = answer.stderr.strip().splitlines()[-1].removeprefix("thaw: ")
            raise UserError(f"{key}: {reason}")
        note.write(names := json.loads(answer.stdout))
    return names


def _composed(key: str, name: str, group: str, known: dict) -> None:
    if name not in known:
        raise UserError(
            f"{key} = {name!r}: expected one of the composed {group} "
            f"({', '.join(known) or 'there is none'}).{did_you_mean(name, known)}"
        )


MODELS = ("details", "metrics", "plots", "predictions", "reports")
AUDITS = ("audits", "learning_curves")
"""Folders of results/ that are about a model, and about the data."""
ABSENT = object()
PLAIN = re.compile(r"(?!(?i:null|true|false|nan|inf)$)[A-Za-z_/][\w./-]*", re.ASCII)
"""Text that Hydra takes for text without quotes."""


composing_here: ContextVar[bool] = ContextVar("composing_here", default=False)  # not in DVC


def compose(*overrides: str) -> dict:
    """Return what conf/ of the current folder composes to, every value resolved and validated.

    Args:
        overrides: as DVC's `-S` takes them.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    token = composing_here.set(True)
    try:
        with initialize_config_dir(os.path.abspath("conf"), version_base=None):
            composed = hydra_compose("config", list(overrides))
            return OmegaConf.to_container(composed, resolve=True)
    finally:
        composing_here.reset(token)


def derive(values: dict, root: Path) -> dict:
    """Return the section `derived`: what dvc.yaml needs to know and no user may set.

    Args:
        values: all other parameters, validated.
        root: of the project.

    Returns:
        `scheme`, by which a stale params.yaml is noticed; for the source its `code`, its
        `inventory` (the file that changes when the source does) and `scan` (one name if a stage
        writes it); for each training the features that it reads and the file of its losses; for
        each model what its evaluation reads.
    """
    code = _code_paths(root)
    source = source_module(values["dataset"]["source"]["kind"])
    scanned = getattr(source, "SCANNED", False)

    def losses(model: dict) -> str:
        terms = model.get("losses", {}).values()
        return next((loss_file(t["function"]) for t in terms), "stages/train_subnet.py")

    subnets, networks = values["subnets"], values["networks"]
    features = {name: subnet["features"] for name, subnet in subnets.items()}
    return {
        "scheme": f"{SCHEME}-{conf_digest(root / 'conf')}",
        "source": {
            "code": _module_path(code["sources"], values["dataset"]["source"]["kind"]),
            "inventory": INVENTORY if scanned else "data/conf.txt",
            "scan": ["folder"] if scanned else [],
        },
        "subnets": {
            name: {"features": features[name], "losses": losses(subnet)}
            for name, subnet in subnets.items()
        },
        "networks": {
            name: {
                "code": _module_path(code["networks"], network["family"]),
                "losses": losses(network),
            }
            for name, network in networks.items()
        },
        "finetunes": {
            name: {
                "features": features[finetune["subnet"]],
                "subnet": finetune["subnet"],
                "losses": losses(finetune),
            }
            for name, finetune in values["finetunes"].items()
        },
        "models": {
            **{name: {"reads": f"data/features/{features[name]}"} for name in subnets},
            **{name: {"reads": "data/images"} for name in (*networks, *values["finetunes"])},
        },
    }


def _code_paths(root: Path) -> dict[str, str]:
    """Return the paths of the library's packages, which dvc.yaml defines under `vars`."""
    text = (root / "dvc.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    (code,) = [part["code"] for part in yaml.load(text, loader)["vars"] if "code" in part]
    return code


def _module_path(folder: str, module: str) -> str:
    """Return the file of a module; in a user's project that is the wheel, which `folder` names."""
    return folder if folder.endswith(".whl") else f"{folder}/{module}.py"


def conf_digest(folder: str | Path = "conf") -> str:
    """Return a digest of every file of conf/: its name and its values, whatever its comments.

    Raises:
        UserError: a file is not valid YAML.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = {}
    for path in sorted(Path(folder).rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        try:
            values = yaml.load(text, loader)
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path} is not valid YAML: {reason}") from None
        package = "# @package _global_" in text  # a comment that Hydra reads
        found[path.relative_to(folder).as_posix()] = [package, values]
    return hashlib.sha256(json.dumps(found, default=str).encode()).hexdigest()[:12]


def differences(kept: dict, composed: dict, prefix: str = "") -> list[tuple]:
    """The leaves in which two parameter trees differ, as (key, kept, composed), of which one may
    be ABSENT."""
    found = []
    for key in [*kept, *(k for k in composed if k not in kept)]:
        have, now, name = kept.get(key, ABSENT), composed.get(key, ABSENT), f"{prefix}{key}"
        if isinstance(have, dict) and isinstance(now, dict):
            found += differences(have, now, f"{name}.")
        elif have != now:
            found.append((name, have, now))
    return found


def format_override(value) -> str:
    """A value as `-S KEY=` takes it in a shell; what is none there, in words."""
    if value is ABSENT or isinstance(value, dict):
        return "absent" if value is ABSENT else "a section"
    return shlex.quote(_overriding(value))


def _overriding(value) -> str:
    """A value in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(_overriding(each) for each in value)}]"
    plain = not isinstance(value, str) or PLAIN.fullmatch(value)
    return str(value) if plain else '"' + value.replace('"', '\\"') + '"'


def remove_stale_results(values: dict, folder: str | Path = "results") -> None:
    """Remove results of what is no longer composed; DVC forgets them where they lie.

    Args:
        values: all parameters.
        folder: of the results.
    """
    composed = {*values["subnets"], *values["networks"], *values["finetunes"]}
    for kinds, known in ((MODELS, composed), (AUDITS, values["audits"])):
        for path in (path for kind in kinds for path in Path(folder, kind).glob("[!.]*")):
            if path.name.removesuffix(".json").removesuffix(".csv") not in known:
                remove(path)
