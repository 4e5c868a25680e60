"""Print the layers at which an application can be split, as JSON.

Run as `python -m thaw.models.backbones.describe APPLICATION SIZE`.
"""

import json
import os
import sys

from thaw.errors import exception_hook
from thaw.models.backbones.applications import build_application, split_points


def main(name: str, size: str) -> None:
    """Print the names of the layers that `finetunes.NAME.thaw_from` accepts.

    Args:
        name: class name in keras.applications, such as VGG16.
        size: height and width of its input, pixels, as JSON: 224, or [64, 256].
    """
    print(json.dumps(split_points(build_application(name, json.loads(size)))))


if __name__ == "__main__":
    sys.excepthook = exception_hook()
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # a normal exit takes another second, for TensorFlow to release its memory
