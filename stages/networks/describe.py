"""`python -m stages.networks.describe APPLICATION SIZE`: the layers it can be cut at, as JSON."""

import json

from stages.command import run
from stages.networks.backbone import application, cuts


def main(name: str, size: str) -> None:
    """Print the names of the layers of `name` that a thaw can start from."""
    print(json.dumps(cuts(application(name, int(size)))))


if __name__ == "__main__":
    run(main)
