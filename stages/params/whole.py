"""All of params.yaml at once: every section, and what one section says of another."""

import json
import subprocess
import sys
from pathlib import Path

from stages.command import Refusal
from stages.params.backbone import Backbone
from stages.params.base import Common, check, nearest
from stages.params.dataset import Dataset, source
from stages.params.doubt import Doubt
from stages.params.evaluate import Evaluate
from stages.params.finetune import Finetune
from stages.params.network import network
from stages.params.runtime import runtime
from stages.params.subnet import subnet
from stages.store import Note

SCHEME = 1
"""Raised when parameters change their meaning or their place."""


class Whole(Common):
    """The top level of params.yaml."""

    runtime: dict
    backbones: dict
    subnets: dict
    networks: dict
    finetunes: dict
    doubts: dict
    evaluate: dict
    dataset: dict


def check_whole(values: dict) -> None:
    """Check every parameter, alone and against the others.

    Raises:
        Refusal: names the key, its value, what was expected and the nearest valid name.
    """
    whole = check(Whole, values)
    dataset = check(Dataset, whole.dataset, "dataset")
    source(whole.dataset["source"])
    check(Evaluate, whole.evaluate, "evaluate")
    runtime(whole.runtime)
    backbones = {n: check(Backbone, v, "backbones", n) for n, v in whole.backbones.items()}
    subnets = {n: subnet(v, n) for n, v in whole.subnets.items()}
    for name, values in whole.networks.items():
        network(values, name)
    finetunes = {n: check(Finetune, v, "finetunes", n) for n, v in whole.finetunes.items()}
    doubts = {n: check(Doubt, v, "doubts", n) for n, v in whole.doubts.items()}

    seen: dict[str, str] = {}
    for group in ("subnets", "networks", "finetunes"):
        for name in getattr(whole, group):
            if name in seen:
                raise Refusal(
                    f"{group}.{name} and {seen[name]}.{name} have one name, and would write the "
                    f"same files. Rename one of them."
                )
            seen[name] = group

    for name, chosen in backbones.items():
        layers(chosen.application, dataset.image.size, f"backbones.{name}.application")
    for name, chosen in subnets.items():
        _composed(f"subnets.{name}.features", chosen.features, "backbones", backbones)
    for name, chosen in doubts.items():
        _composed(f"doubts.{name}.features", chosen.features, "backbones", backbones)
    for name, chosen in finetunes.items():
        key = f"finetunes.{name}"
        _composed(f"{key}.subnet", chosen.subnet, "subnets", subnets)
        start = subnets[chosen.subnet]
        if start.kind != "dense":
            raise Refusal(
                f"{key}.subnet = {chosen.subnet!r}: expected a subnet of kind dense; a "
                f"{start.kind} one cannot be trained on with its backbone."
            )
        if chosen.features != start.features:
            raise Refusal(
                f"{key}.features = {chosen.features!r}: expected {start.features!r}, which "
                f"{chosen.subnet} was trained on. Leave this key to conf/."
            )
        if chosen.thaw_from is not None:
            application = backbones[chosen.features].application
            names = layers(application, dataset.image.size, f"backbones.{chosen.features}")
            if chosen.thaw_from not in names:
                raise Refusal(
                    f"{key}.thaw_from = {chosen.thaw_from!r}: expected a layer of {application} "
                    f"that has a single tensor before it.{nearest(chosen.thaw_from, names)} "
                    f"Its layers: {', '.join(names)}."
                )


def layers(application: str, size: int, key: str) -> list[str]:
    """The layers at which `application` can be cut, in order, as told by Keras in a process of
    its own (it takes seconds to start) and remembered in the store.

    Raises:
        Refusal: there is no such application, or it cannot take images of `size` pixels.
    """
    from importlib.metadata import version

    if not application.isidentifier():
        raise Refusal(f"{key}: {application!r:.200} is no network of keras.applications.")
    asked = f"{application} {size} keras {version('keras')}"
    note = Note("layers", asked)
    if not isinstance(names := note.read(), list):
        answer = subprocess.run(
            [sys.executable, "-m", "stages.networks.describe", application, str(size)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
        )
        if answer.returncode:
            reason = answer.stderr.strip().splitlines()[-1].removeprefix("thaw: ")
            raise Refusal(f"{key}: {reason}")
        note.write(names := json.loads(answer.stdout))
    return names


def _composed(key: str, name: str, group: str, known: dict) -> None:
    if name not in known:
        raise Refusal(
            f"{key} = {name!r}: expected one of the composed {group} "
            f"({', '.join(known) or 'there is none'}).{nearest(name, known)}"
        )
