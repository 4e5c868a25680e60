"""Fill the store with outputs of a frozen backbone, here or in the workers of a Ray cluster.

The driver sends a worker the keys of one shard and the places of their images. The worker reads the
images from the store and writes the shard to it, so no pixels or outputs pass through the driver.

`thaw.data` is imported only for views and in workers: stage features does not depend on it.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from thaw.config.backbone import Backbone
from thaw.config.runtime import Local, Ray
from thaw.config.training import Augmentation
from thaw.errors import UserError, note_progress
from thaw.models.backbones.frozen import SHARD_BATCHES, FrozenBackbone
from thaw.runtime.progress import Progress
from thaw.runtime.ray_workers import WorkerPool, ray_cluster
from thaw.storage.arrays import ArrayFolder
from thaw.storage.shards import Row, SharedShards
from thaw.storage.shared_images import SharedImages
from thaw.storage.store import Store

Fill = Callable[[Store, list[str], str], object]
Task = tuple[str, list[str], list[Row]]  # address of the outputs, keys, places of the images


@contextlib.contextmanager
def filler(
    runtime: Local | Ray,
    frozen: FrozenBackbone,
    images: ArrayFolder,
    augmentation: Augmentation | None = None,
) -> Iterator[Fill]:
    """Give a function that computes and stores missing outputs where `runtime` says.

    A cluster is joined or started for the first missing output, since that takes seconds, and left
    after the block.

    Args:
        runtime: where to run.
        frozen: the backbone.
        images: the decoded images.
        augmentation: of the views, for keys of views.

    Yields:
        A function of store, keys and the label of the progress bar. A key is one of `images`, or
        KEY-NUMBER for a view of it.
    """
    read = _reader(images.__getitem__, augmentation)
    if runtime.kind == "local":
        yield lambda store, keys, label: frozen.fill(store, keys, read, label)
        return
    with contextlib.ExitStack() as stack:
        started: list[tuple[WorkerPool, SharedImages]] = []

        def fill(store: Store, keys: list[str], label: str) -> None:
            if not (missing := store.missing(keys)):
                return
            if not started:
                shared = SharedImages(images.shape, images.__getitem__)
                shared_arguments = {"pixels": shared.address, "augmentation": augmentation}
                arguments = {**frozen.arguments, **shared_arguments}
                stack.enter_context(ray_cluster(runtime))
                weights = Path(frozen.weights).read_bytes()
                pool = WorkerPool(runtime, ShardWorker, weights, arguments, frozen.recipe)
                started.append((pool, shared))
            pool, shared = started[0]
            with Progress(label, len(missing)) as progress:
                tasks = _tasks(store.address, missing, SHARD_BATCHES * frozen.batch_size, shared)
                for (_, done, _), shard in pool.run(tasks):
                    store.register(shard, done)
                    progress.advance(len(done))
                    note_progress(
                        f"{progress.done:,} of {len(missing):,} new outputs of the backbone"
                    )

        yield fill


def _tasks(address: str, keys: list[str], size: int, images: SharedImages) -> Iterator[Task]:
    """Yield a task for each shard. The shards are those of a local run."""
    for start in range(0, len(keys), size):
        chunk = keys[start : start + size]
        yield address, chunk, images.rows([key.partition("-")[0] for key in chunk])


def _reader(
    image: Callable[[str], np.ndarray], augmentation: Augmentation | None
) -> Callable[[str], np.ndarray]:
    """Return a function that returns the pixels of an image's key, or of a view's."""
    if augmentation is None:
        return image
    from thaw.data.augmentation import view_function

    view = view_function(augmentation)

    def read(key: str) -> np.ndarray:
        image_key, _, number = key.partition("-")
        return view(image(image_key), image_key, int(number or 0))

    return read


class ShardWorker:
    """Computes shards in a worker process.

    Args:
        pixels: address of the shared images.
        augmentation: as of `filler`.
        backbone: this and the following as of FrozenBackbone.

    Attributes:
        recipe: of the frozen backbone.

    Raises:
        UserError: this machine cannot read the shared images.
    """

    def __init__(
        self,
        pixels: str,
        augmentation: Augmentation | None,
        backbone: Backbone,
        weights: str | Path,
        shape: tuple[int, ...],
        thaw_from: str | None,
    ) -> None:
        from thaw.data.decoding import pixel_sha256

        self._shape, self._digest = shape, pixel_sha256
        self._images = SharedShards(pixels)
        if "recipe.json" not in self._images.files():
            raise UserError(
                f"a worker of the Ray cluster cannot see the store at {pixels}. Set THAW_STORE to "
                f"a folder that every node has under the same path, or to an address such as "
                f"s3://bucket/thaw."
            )
        self._frozen = FrozenBackbone(backbone, weights, shape, thaw_from)
        self.recipe = self._frozen.recipe
        self._pixels: dict[str, np.ndarray] = {}
        self._read = _reader(lambda key: self._pixels[key], augmentation)
        self._network = threading.Lock()  # one task reads or writes while another one computes

    def __call__(self, address: str, keys: list[str], rows: list[Row]) -> str:
        """Compute the outputs of `keys` as one shard, and return its name.

        Args:
            address: of the outputs' shards.
            keys: of images or views.
            rows: the image of each key.

        Raises:
            UserError: an image is not the one of its key, or an output is not finite.
        """
        pixels: dict[str, Any] = {}
        read = self._images.read(rows, self._shape, "uint8")
        for key, (shard, *_), image in zip(keys, rows, read, strict=True):
            image_key = key.partition("-")[0]
            if self._digest(image) != image_key:
                self._images.remove(shard)
                raise UserError(
                    f"{self._images.address}/{shard}.npy was truncated or modified, and is "
                    f"removed. Run the same command again."
                )
            pixels[image_key] = image
        with self._network:
            self._pixels = pixels
            outputs = self._frozen.outputs(keys, self._read)
        return SharedShards(address).add(keys, outputs)
