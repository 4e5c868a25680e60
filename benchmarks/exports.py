"""Compare exported models (every format, float32 and int8) with Keras: agreement, speed and size.

    python -m benchmarks.exports gap256 finetuned --check 100

Each export is one call of `thaw export`, after `make setup EXTRA="export"` and `dvc checkout`.
Exports that `thaw export` rejects are listed too. Prints the table of benchmarks/README.md.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FORMATS = ("savedmodel", "onnx", "openvino", "tflite")
COLUMNS = (
    "model",
    "format",
    "",
    "largest difference",
    "mean",
    "same class",
    "accuracy (Keras)",
    "times as fast as Keras in float32, in bfloat16",
    "MB (Keras)",
)


def main() -> None:
    """Export, and print a row for each model, format and precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--check", default="200")
    parser.add_argument("--calibration", default="200")
    parser.add_argument("--formats", nargs="+", default=FORMATS, choices=FORMATS)
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    for model in options.models:
        for form in options.formats:
            for int8 in (False, True) if form != "savedmodel" else (False,):
                print(line(model, form, int8, options), flush=True)


def line(model: str, form: str, int8: bool, options: argparse.Namespace) -> str:
    """Return a row of the table, from the output of `thaw export`."""
    with tempfile.TemporaryDirectory() as place:
        call = [sys.executable, "-m", "thaw.cli.main", "export", model, "--to", form]
        call += ["--out", str(Path(place) / "out"), "--check", options.check]
        call += ["--int8", "--calibration", options.calibration] if int8 else []
        done = subprocess.run(call, capture_output=True, text=True)
    rows = [re.split(r"  +", row.strip()) for row in done.stdout.splitlines()]
    exported = next((row for row in rows if row[0] == "exported"), None)
    keras = [row for row in rows if row[0].startswith("Keras")]
    kind = "int8" if int8 else "float32"
    if exported is None:
        return f"| `{model}` | {form} | {kind} | failed: {done.stderr.strip().splitlines()[-1]} |"
    # name, accuracy, largest, mean, same class, images/s, MB
    _, accuracy, speed, size = exported
    times = ", ".join(f"{float(speed) / float(row[5]):.2f}" for row in keras)
    first = keras[0]
    rejected = ", rejected" if done.returncode else ""
    return (
        f"| `{model}` | {form} | {kind}{rejected} | {first[2]} | {first[3]} | {first[4]} | "
        f"{accuracy} ({first[1]}) | {times} | {size} ({first[6]}) |"
    )


if __name__ == "__main__":
    main()
