"""Write example code for the model card: a script that uses an export without Thaw."""

from thaw.config.dataset import Image

PACKAGES = {  # the package of each format's runtime
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "savedmodel": "tensorflow",
    "tflite": "ai-edge-litert",
}

OPEN = """\
image = ImageOps.exif_transpose(Image.open("photo.jpg"))
{deep}\
if image.has_transparency_data:
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image.convert("RGBA"))
"""
DEPTH = """\
if image.mode.startswith("I;16"):  # convert() would clip at 255
    image = Image.fromarray((np.asarray(image) >> {shift}).clip(0, 255).astype("uint8"))
"""
RANGE = """\
if image.mode[0] in "IF":  # more than 8 bits: from {low:g}, black, to {high:g}, white
    share = (np.asarray(image).astype("float64") - {low!r}) / ({high!r} - {low!r})
    image = Image.fromarray(np.rint(share.clip(0, 1) * 255).astype("uint8"))
"""
FITS = {
    "stretch": "",
    "crop": """\
inner_width = max(1, min(image.width, image.height * {width} // {height}))
inner_height = max(1, min(image.height, image.width * {height} // {width}))
left, top = (image.width - inner_width) // 2, (image.height - inner_height) // 2
image = image.crop((left, top, left + inner_width, top + inner_height))
""",
    "pad": """\
across = max(0, image.height * {width} // {height} - image.width) // 2
down = max(0, image.width * {height} // {width} - image.height) // 2
image = ImageOps.expand(image, (across, down))
""",
}
PICTURES = """\
image = image.convert("RGB")
inputs = np.asarray(image)[None]  # (1, height, width, 3), uint8
"""
PIXELS = """\
image = image.convert("{mode}")
{fit}\
image = image.resize(({width}, {height}), Image.Resampling.{filter})
inputs = np.asarray(image).reshape(1, {height}, {width}, {channels})  # uint8
"""
RUNTIMES = {
    "onnx": """\
import onnxruntime
model = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
probabilities = model.run(None, {{"{takes}": inputs}})[0][0]
""",
    "openvino": """\
import openvino
# f32: with bfloat16, the default of processors that have it, probabilities differ by about 0.01
settings = {{"INFERENCE_PRECISION_HINT": "f32"}}
model = openvino.compile_model("model.xml", "CPU", settings)
probabilities = model(inputs)[0][0]
""",
    "savedmodel": """\
import tensorflow
model = tensorflow.saved_model.load("saved_model")
probabilities = model.serve(inputs).numpy()[0]
""",
    "tflite": """\
from ai_edge_litert.interpreter import Interpreter
model = Interpreter("model.tflite")
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], inputs)
model.invoke()
probabilities = model.get_tensor(model.get_output_details()[0]["index"])[0]
""",
}


def example_code(form: str, takes: str, image: Image, classes: list[str]) -> str:
    """Return a script that prints the class and the probability of photo.jpg.

    Args:
        form: onnx, openvino, savedmodel or tflite.
        takes: the name of the model's input: pictures or pixels.
        image: how pictures become pixels.
        classes: names in the order of the probabilities.
    """
    library, *rest = RUNTIMES[form].format(takes=takes).splitlines(keepends=True)
    prepare = PICTURES
    if takes == "pixels":
        height, width, channels = image.shape
        prepare = PIXELS.format(
            mode="L" if image.colour == "grey" else "RGB",
            fit=FITS[image.fit].format(height=height, width=width),
            height=height,
            width=width,
            filter=image.resampling.upper(),
            channels=channels,
        )
    deep = DEPTH.format(shift=image.bit_depth - 8)
    if image.value_range:
        low, high = image.value_range
        deep = RANGE.format(low=low, high=high)
    return (
        f"import numpy as np\n{library}from PIL import Image, ImageOps\n\nclasses = {classes!r}\n"
        f"{OPEN.format(deep=deep)}{prepare}{''.join(rest)}"
        'print(classes[probabilities.argmax()], f"{probabilities.max():.4f}")\n'
    )
