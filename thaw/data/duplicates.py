"""Which images are much alike, by the direction of their cached features."""

import numpy as np

from thaw.storage.arrays import ArrayFolder

AT_ONCE = 256


def embeddings(arrays: ArrayFolder, keys: list[str]) -> np.ndarray:
    """Features (height, width, channels) averaged over the map and scaled to length 1, for each
    key: (n, channels), float32."""
    rows, some = arrays.select(keys), range(0, len(keys), AT_ONCE)
    return np.concatenate([embed(rows[start : start + AT_ONCE]) for start in some])


def embed(features: np.ndarray) -> np.ndarray:
    """As `directions`, of features (n, height, width, channels) themselves."""
    flat = features.reshape(len(features), -1, features.shape[-1])
    return normalize(flat.mean(axis=1, dtype="float32"))


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, channels) scaled to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest_neighbors(
    of: np.ndarray, among: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of `among` (m, channels) that each row of `of` (n, channels) is most like: their
    numbers and the cosines, (n, count), the nearest first."""
    count = min(count, len(among))
    numbers, cosines = [], []
    for start in range(0, len(of), AT_ONCE):
        like = of[start : start + AT_ONCE] @ among.T
        best = np.argpartition(-like, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(like, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        numbers.append(best)
        cosines.append(np.take_along_axis(like, best, axis=1))
    return np.concatenate(numbers), np.concatenate(cosines)


def pairs_across_splits(
    vectors: np.ndarray, splits: np.ndarray, near: float, most: int
) -> tuple[int, list[tuple[int, int, float]]]:
    """Pairs of rows (n, channels), of length 1, that stand in different splits (n,).

    Returns:
        How many pairs have a cosine of `near` or more, and the `most` most alike of all pairs:
        their numbers and cosine, the most alike first.
    """
    pairs, count = [], 0
    for start in range(0, len(vectors), AT_ONCE):
        like = vectors[start : start + AT_ONCE] @ vectors.T
        own = np.arange(start, start + len(like))
        like[splits[own][:, None] == splits[None, :]] = -1
        like[np.arange(len(vectors))[None, :] <= own[:, None]] = -1  # each pair once
        count += int((like >= near).sum())
        best = np.argpartition(-like, min(most, like.size) - 1, axis=None)[:most]
        for a, b in zip(*np.unravel_index(best, like.shape), strict=True):
            if like[a, b] > -1:
                pairs.append((-float(like[a, b]), start + int(a), int(b)))
        pairs = sorted(pairs)[:most]
    return count, [(a, b, -cosine) for cosine, a, b in pairs]
