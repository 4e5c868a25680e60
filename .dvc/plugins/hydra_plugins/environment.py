"""Stop `dvc exp run` with one line in an environment without Thaw.

Hydra imports this module before it composes conf/: .dvc/config has its folder as plugins_path.
Without it, Hydra would say "Unsupported interpolation type thaw.derived".
"""

import sys

try:
    import thaw.resolvers  # noqa: F401
except ImportError as error:
    sys.exit(
        f"thaw: {sys.executable} cannot import Thaw ({error}). `make setup` creates the project's "
        f"environment. Activate it with `. .venv/bin/activate`, then run again."
    )
