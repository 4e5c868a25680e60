"""How an export is used where Thaw is not: a few lines of Python for each format."""

from thaw.config.dataset import Image

NEEDS = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "savedmodel": "tensorflow",
    "tflite": "ai-edge-litert",
}
"""The package of each format's runtime."""

OPENED = """\
picture = ImageOps.exif_transpose(Image.open("photo.jpg"))
if picture.mode.startswith("I;16"):  # convert() would clip at 255
    picture = Image.fromarray((np.asarray(picture) >> {shift}).clip(0, 255).astype("uint8"))
if picture.has_transparency_data:
    white = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(white, picture.convert("RGBA"))
"""
PICTURES = """\
picture = picture.convert("RGB")
given = np.asarray(picture)[None]  # (1, height, width, 3), uint8
"""
PIXELS = """\
picture = picture.convert("{mode}")
picture = picture.resize(({size}, {size}), Image.Resampling.{filter})
given = np.asarray(picture).reshape(1, {size}, {size}, {channels})  # uint8
"""
RUNTIMES = {
    "onnx": """\
import onnxruntime
model = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
probabilities = model.run(None, {{"{takes}": given}})[0][0]
""",
    "openvino": """\
import openvino
# f32: else processors that have bfloat16 use it, and probabilities differ by a hundredth
settings = {{"INFERENCE_PRECISION_HINT": "f32"}}
model = openvino.compile_model("model.xml", "CPU", settings)
probabilities = model(given)[0][0]
""",
    "savedmodel": """\
import tensorflow
model = tensorflow.saved_model.load("saved_model")
probabilities = model.serve(given).numpy()[0]
""",
    "tflite": """\
from ai_edge_litert.interpreter import Interpreter
model = Interpreter("model.tflite")
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], given)
model.invoke()
probabilities = model.get_tensor(model.get_output_details()[0]["index"])[0]
""",
}


def code(form: str, takes: str, image: Image, classes: list[str]) -> str:
    """A script that prints the class and the probability of photo.jpg.

    Args:
        form: onnx, openvino, savedmodel or tflite.
        takes: pictures or pixels.
    """
    library, *rest = RUNTIMES[form].format(takes=takes).splitlines(keepends=True)
    prepare = PICTURES
    if takes == "pixels":
        grey = image.colour == "grey"
        prepare = PIXELS.format(
            mode="L" if grey else "RGB",
            size=image.size,
            filter=image.resampling.upper(),
            channels=1 if grey else 3,
        )
    return (
        f"import numpy as np\n{library}from PIL import Image, ImageOps\n\nclasses = {classes!r}\n"
        f"{OPENED.format(shift=image.bits - 8)}{prepare}{''.join(rest)}"
        'print(classes[probabilities.argmax()], f"{probabilities.max():.4f}")\n'
    )
