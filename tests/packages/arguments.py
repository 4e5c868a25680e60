"""Print the arguments of Keras's layers and operations as JSON. Runs in any version of Keras."""

import inspect
import json

import keras
from keras.src.ops import core, image, math, nn, numpy
from keras.src.ops.operation import Operation

MODULES = (core, image, math, nn, numpy)


def arguments(cls: type) -> list[str]:
    """Return the arguments that a class and those that it passes keywords to accept."""
    names: set[str] = set()
    for each in cls.__mro__:
        if "__init__" not in vars(each):
            continue
        parameters = inspect.signature(vars(each)["__init__"]).parameters.values()
        names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return sorted(names - {"self"})


def main() -> None:
    """Print them by module and class, as config.json names them."""
    layers = {f"keras.layers.{name}": cls for name, cls in vars(keras.layers).items()}
    layers["keras.src.models.functional.Functional"] = keras.Model
    operations = {f"{m.__name__}.{name}": cls for m in MODULES for name, cls in vars(m).items()}
    found = {
        name: arguments(cls)
        for name, cls in {**layers, **operations}.items()
        if inspect.isclass(cls) and issubclass(cls, Operation)
    }
    print(json.dumps(found, sort_keys=True))


if __name__ == "__main__":
    main()
