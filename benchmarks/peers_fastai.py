"""fastai on a folder of images: `python peers_fastai.py WEIGHTS IMAGES EPOCHS SEED`.

timm's EfficientNet-Lite0 gets the weights in WEIGHTS (.npz, in Keras's layout) and is trained by
`fine_tune(EPOCHS, freeze_epochs=1)` with all else at fastai's defaults. IMAGES has train/CLASS and
test/CLASS. The last word that it prints is the accuracy on test. It imports nothing of Thaw.
"""

import sys

import numpy as np
import torch

# torchvision loads its operators from a library that needs CUDA's. With a build of PyTorch for
# processors alone they are missing; nothing here uses them, but the import describes two of them.
for operator in ("nms", "qnms"):
    torch.library.define(
        f"torchvision::{operator}", "(Tensor boxes, Tensor scores, float most) -> Tensor"
    )

from fastai.vision.all import (  # noqa: E402
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)

ARCHITECTURE = "tf_efficientnet_lite0"


def main(weights: str, images: str, epochs: str, seed: str) -> None:
    """Train and print the accuracy."""
    set_seed(int(seed), reproducible=True)
    loaders = ImageDataLoaders.from_folder(
        images,
        train="train",
        valid="test",
        item_tfms=Resize(460),
        batch_tfms=[*aug_transforms(size=224), Normalize.from_stats([0.5] * 3, [0.5] * 3)],
        bs=64,
        num_workers=2,
    )
    learner = vision_learner(
        loaders, ARCHITECTURE, pretrained=False, normalize=False, metrics=accuracy
    )
    copy_weights(weights, learner.model[0])
    learner.fine_tune(int(epochs), freeze_epochs=1)
    print(float(learner.validate()[1]))


def copy_weights(file: str, body: torch.nn.Module) -> None:
    """Copy Keras's tensors, which have the same order as PyTorch's."""
    with np.load(file) as opened:
        theirs = [opened[name] for name in opened.files]
    state = {k: v for k, v in body.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert len(state) == len(theirs)
    for (name, ours), tensor in zip(state.items(), theirs, strict=True):
        if tensor.ndim == 4:
            depthwise = ours.shape[1] == 1 and tensor.shape[2] > 1
            tensor = tensor.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        assert ours.shape == tensor.shape, name
        ours.copy_(torch.from_numpy(np.ascontiguousarray(tensor)))


if __name__ == "__main__":
    main(*sys.argv[1:])
