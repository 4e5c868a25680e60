"""`python -m thaw.models.backbones.describe APPLICATION SIZE`: the layers it can be cut at, as JSON."""

import json
import os
import sys

from thaw.errors import exception_hook
from thaw.models.backbones.applications import build_application, split_points


def main(name: str, size: str) -> None:
    """Print the names of the layers of `name` that a thaw can start from."""
    print(json.dumps(split_points(build_application(name, int(size)))))


if __name__ == "__main__":
    sys.excepthook = exception_hook()
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # TensorFlow takes a second to take itself apart
