"""Compose conf/ with Hydra, and validate the parameters alone and against each other."""

import hashlib
import json
import os
import subprocess
import sys
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from thaw.config.audit import Audit
from thaw.config.backbone import Backbone
from thaw.config.base import Common, Loader, did_you_mean, validate
from thaw.config.dataset import NEAR_DUPLICATES, Dataset, Size
from thaw.config.evaluation import Evaluate
from thaw.config.finetuning import Finetune
from thaw.config.runtime import validate_runtime
from thaw.config.subnet import possible_kinds, validate_subnet
from thaw.config.training import loss_file
from thaw.data.inventory import INVENTORY
from thaw.data.registry import source_module, validate_source
from thaw.errors import UserError
from thaw.models.registry import validate_network
from thaw.storage.files import remove
from thaw.storage.store import CachedValue

SCHEME = 2  # raised when a parameter changes its meaning or its name
MODEL_RESULTS = ("details", "metrics", "plots", "predictions", "reports", "validation")
AUDIT_RESULTS = ("audits", "learning_curves")
SEARCH_RESULTS = ("searches",)  # all of these are folders of results/

composing_here: ContextVar[bool] = ContextVar("composing_here", default=False)  # not in DVC


class Composition(Common):
    """The top level of params.yaml, without the section `derived`."""

    runtime: dict[str, Any]
    backbones: dict[str, Any]
    subnets: dict[str, Any]
    networks: dict[str, Any]
    finetunes: dict[str, Any]
    audits: dict[str, Any]
    evaluate: dict[str, Any]
    dataset: dict[str, Any]


def validate_composition(values: Any) -> None:
    """Validate every parameter, alone and against the others.

    Args:
        values: the content of params.yaml. The section `derived` is ignored.

    Raises:
        UserError: gives the key, its value, what was expected and the nearest valid name.
    """
    if isinstance(values, dict):
        values = {key: value for key, value in values.items() if key != "derived"}
    whole = validate(Composition, values)
    dataset = validate(Dataset, whole.dataset, "dataset")
    validate_source(whole.dataset["source"])
    validate(Evaluate, whole.evaluate, "evaluate")
    validate_runtime(whole.runtime)
    backbones = {n: validate(Backbone, v, "backbones", n) for n, v in whole.backbones.items()}
    subnets = {n: validate_subnet(v, n) for n, v in whole.subnets.items()}
    for name, network in whole.networks.items():
        validate_network(network, name)
    finetunes = {n: validate(Finetune, v, "finetunes", n) for n, v in whole.finetunes.items()}
    audits = {n: validate(Audit, v, "audits", n) for n, v in whole.audits.items()}

    if dataset.split.group == NEAR_DUPLICATES and not backbones:
        raise UserError(
            f"dataset.split.group = {NEAR_DUPLICATES} compares features of a backbone, and none is "
            f"composed. Add one, such as -S +backbone@backbones.lite0=efficientnet_lite0."
        )
    group_of: dict[str, str] = {}
    for group in ("subnets", "networks", "finetunes"):
        for name in getattr(whole, group):
            if name in group_of:
                raise UserError(
                    f"{group}.{name} and {group_of[name]}.{name} have the same name and would "
                    f"write the same files. Rename one of them."
                )
            group_of[name] = group

    size = dataset.image.size
    for name, backbone in backbones.items():
        layers_to_thaw(backbone.application, size, f"backbones.{name}.application")
    for name, subnet in subnets.items():
        _check_composed(f"subnets.{name}.features", subnet.features, "backbones", backbones)
    for name, audit in audits.items():
        _check_composed(f"audits.{name}.features", audit.features, "backbones", backbones)
    for name, finetune in finetunes.items():
        key = f"finetunes.{name}"
        _check_composed(f"{key}.subnet", finetune.subnet, "subnets", subnets)
        start = subnets[finetune.subnet]
        if finetune.reinitialize_head and possible_kinds(start) != {"dense"}:
            raise UserError(
                f"{key}.reinitialize_head = true: expected false, since {finetune.subnet!r} is a "
                f"{start.kind} subnet, which has no random initial weights."
            )
        if finetune.thaw_from is not None:
            application = backbones[start.features].application
            layers = layers_to_thaw(application, size, f"backbones.{start.features}")
            if finetune.thaw_from not in layers:
                raise UserError(
                    f"{key}.thaw_from = {finetune.thaw_from!r:.200}: expected a layer of "
                    f"{application} that has a single tensor before it."
                    f"{did_you_mean(finetune.thaw_from, layers)} Its layers: {', '.join(layers)}."
                )


def layers_to_thaw(application: str, size: Size, key: str) -> list[str]:
    """Return the layers from which a network can be thawed, from input to output.

    Keras lists them in a process that takes seconds to start, so the store caches the list.

    Args:
        application: name of a network, such as VGG16.
        size: height and width of the images in pixels.
        key: the parameter that names the network, for messages.

    Raises:
        UserError: there is no such network, or it cannot take images of `size` pixels.
    """
    if not application.isidentifier():
        raise UserError(f"{key}: {application!r:.200} is no name of a network.")
    cached = CachedValue("layers", f"{application} {size} 2 keras {version('keras')}")
    layers: list[str] | None = cached.read()
    if not isinstance(layers, list):
        process = subprocess.run(
            [sys.executable, "-m", "thaw.models.backbones.describe", application, str(size)],
            capture_output=True,
            text=True,
        )
        if process.returncode:
            reason = process.stderr.strip().splitlines()[-1].removeprefix("thaw: ")
            raise UserError(f"{key}: {reason}")
        cached.write(layers := json.loads(process.stdout))
    return layers


def _check_composed(key: str, name: str, group: str, composed: dict[str, Any]) -> None:
    if name not in composed:
        raise UserError(
            f"{key} = {name!r:.200}: expected one of the composed {group} "
            f"({', '.join(composed) or 'there is none'}).{did_you_mean(name, composed)}"
        )


def compose(*overrides: str) -> dict[str, Any]:
    """Return the parameters that conf/ of the current folder composes to, validated.

    Args:
        overrides: in the syntax of `dvc exp run -S`.

    Raises:
        SystemExit: a parameter is invalid; the exception's code is the message.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    token = composing_here.set(True)
    try:
        with initialize_config_dir(os.path.abspath("conf"), version_base=None):
            composed = hydra_compose("config", list(overrides))
            parameters: Any = OmegaConf.to_container(composed, resolve=True)
            return dict(parameters)
    finally:
        composing_here.reset(token)


def derive(values: dict[str, Any], root: Path) -> dict[str, Any]:
    """Return the section `derived`: values that dvc.yaml needs and that users may not set.

    Args:
        values: all other parameters, validated.
        root: the project's folder.

    Returns:
        `scheme`, which detects a stale params.yaml. For the source, the file of its `code`, its
        `inventory` (a file that changes when the source does) and `scan` (one name if a stage
        writes the inventory). What stage `split` reads. For each training, the features and the
        file of losses that it reads, and for a subnet also the result of its search. For each
        search of a subnet, what it reads. `validation`, the folder that `best` reads. For each
        model, what its evaluation reads, and the backbone's `weights`.
    """
    code = _code_paths(root)
    source = source_module(values["dataset"]["source"]["kind"])
    scanned = getattr(source, "SCANNED", False)

    def losses(model: dict[str, Any]) -> str:
        parts = (model, *model.get("heads", {}).values())  # a logistic regression has no losses
        terms = (term for part in parts for term in part.get("losses", {}).values())
        return next((loss_file(term["function"]) for term in terms), "stages/train_subnet.py")

    subnets, networks = values["subnets"], values["networks"]
    features = {name: subnet["features"] for name, subnet in subnets.items()}
    heads = {n: {"features": features[n], "losses": losses(s)} for n, s in subnets.items()}
    searches = {n: f"data/searches/{n}.yaml" for n, s in subnets.items() if s["kind"] == "tuned"}
    models = {
        name: {"reads": f"data/features/{of}", "weights": f"data/weights/{of}.npz"}
        for name, of in features.items()
    }
    for name in networks:  # these need no weights
        models[name] = {"reads": "data/images", "weights": "data/images"}
    for name, finetune in values["finetunes"].items():
        weights = f"data/weights/{features[finetune['subnet']]}.npz"
        models[name] = {"reads": "data/images", "weights": weights}
    return {
        "scheme": f"{SCHEME}-{conf_digest(root / 'conf')}",
        "source": {
            "code": _module_path(code["sources"], values["dataset"]["source"]["kind"]),
            "inventory": INVENTORY if scanned else "data/conf.txt",
            "scan": ["folder"] if scanned else [],
        },
        "split": _read_by_split(values),
        "subnets": {
            name: {**reads, "search": searches.get(name, "data/split.csv")}
            for name, reads in heads.items()
        },
        "searches": {name: heads[name] for name in searches},
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
        "validation": "results/validation" if models else "data/conf.txt",
        "models": models,
    }


def _read_by_split(values: dict[str, Any]) -> str:
    """Return the features that stage `split` compares, or the index, which it always reads."""
    if values["dataset"]["split"].get("group") != NEAR_DUPLICATES:
        return "data/index.csv"
    return f"data/features/{next(iter(values['backbones']))}"


def _code_paths(root: Path) -> dict[str, str]:
    """Return the paths of the library's packages, which dvc.yaml defines under `vars`."""
    text = (root / "dvc.yaml").read_text(encoding="utf-8")
    code: dict[str, str]
    (code,) = [part["code"] for part in yaml.load(text, Loader)["vars"] if "code" in part]
    return code


def _module_path(folder: str, module: str) -> str:
    """Return the file of a module; in a user's project, `folder` is the wheel that has it."""
    return folder if folder.endswith(".whl") else f"{folder}/{module}.py"


def conf_digest(folder: str | Path = "conf") -> str:
    """Return a digest of the name and the values of every file in conf/. Comments do not count.

    Raises:
        UserError: a file is not valid YAML.
    """
    contents = {}
    for path in sorted(Path(folder).rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        try:
            values = yaml.load(text, Loader)
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path} is not valid YAML: {reason}") from None
        package = "# @package _global_" in text  # a comment that Hydra reads
        contents[path.relative_to(folder).as_posix()] = [package, values]
    return hashlib.sha256(json.dumps(contents, default=str).encode()).hexdigest()[:12]


def remove_stale_results(values: dict[str, Any], folder: str | Path = "results") -> None:
    """Delete results of models and audits that are no longer composed. DVC leaves them behind.

    Args:
        values: all parameters.
        folder: the folder of results.
    """
    models = {*values["subnets"], *values["networks"], *values["finetunes"]}
    searches = [name for name, subnet in values["subnets"].items() if subnet["kind"] == "tuned"]
    composed_by_kinds = {MODEL_RESULTS: models, AUDIT_RESULTS: values["audits"]}
    for kinds, composed in {**composed_by_kinds, SEARCH_RESULTS: searches}.items():
        for path in (path for kind in kinds for path in Path(folder, kind).glob("[!.]*")):
            if path.name.removesuffix(".json").removesuffix(".csv") not in composed:
                remove(path)
