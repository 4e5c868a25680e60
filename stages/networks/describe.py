"""`python -m stages.networks.describe APPLICATION SIZE`: the layers it can be cut at, as JSON."""

import json
import os
import sys

from stages.command import ends
from stages.networks.backbone import application, cuts


def main(name: str, size: str) -> None:
    """Print the names of the layers of `name` that a thaw can start from."""
    print(json.dumps(cuts(application(name, int(size)))))


if __name__ == "__main__":
    sys.excepthook = ends()
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # TensorFlow takes a second to take itself apart
