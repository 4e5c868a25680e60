"""Find similar images by the cosine similarity of their cached features."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from thaw.storage.arrays import ArrayFolder

FEW = 2000  # vectors; so many are compared with all others in less time
SAMPLE = 2000  # vectors that the principal components are computed from
POWERS = 4  # iterations in which they are computed
COMPONENTS = 12  # more find fewer candidates, but the search in the tree takes longer
MOST_NEAR = 0.05  # share of vectors that may be candidates; from there comparing all is quicker
ROUNDING = 1e-3  # of distances between float32 vectors
AT_ONCE = 256  # rows per batch; bounds the memory of the similarity matrix


def embeddings(arrays: ArrayFolder, keys: list[str]) -> np.ndarray:
    """Return the embeddings of the images with the given keys.

    Args:
        arrays: Features (height, width, channels) by key.
        keys: One for each row of the result.

    Returns:
        Features averaged over height and width, scaled to length 1: (n, channels), float32.
    """
    rows, starts = arrays.select(keys), range(0, len(keys), AT_ONCE)
    return np.concatenate([embed(rows[start : start + AT_ONCE]) for start in starts])


def embed(features: np.ndarray) -> np.ndarray:
    """Return the embeddings (n, channels) of features (n, height, width, channels)."""
    flat = features.reshape(len(features), -1, features.shape[-1])
    return normalize(flat.mean(axis=1, dtype="float32"))


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors (n, channels) to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest_neighbors(
    of: np.ndarray, among: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows of `among` that are most similar to each row of `of`.

    Args:
        of: Vectors of length 1, (n, channels).
        among: Vectors of length 1, (m, channels).
        count: Neighbours to find for each row; at most m are returned.

    Returns:
        The row numbers in `among` and the cosine similarities, both (n, count), most similar first.
    """
    count = min(count, len(among))
    numbers, cosines = [], []
    for start in range(0, len(of), AT_ONCE):
        similarity = of[start : start + AT_ONCE] @ among.T  # (batch, m)
        best = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(similarity, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        numbers.append(best)
        cosines.append(np.take_along_axis(similarity, best, axis=1))
    return np.concatenate(numbers), np.concatenate(cosines)


def pairs_across_splits(
    vectors: np.ndarray, splits: np.ndarray, threshold: float, max_pairs: int
) -> tuple[int, list[tuple[int, int, float]]]:
    """Find the most similar pairs of images that are in different splits.

    Args:
        vectors: Embeddings of length 1, (n, channels).
        splits: The split of each row, (n,).
        threshold: Cosine similarity from which a pair counts as near-duplicates.
        max_pairs: How many pairs to return.

    Returns:
        The number of pairs at or above `threshold`, and the `max_pairs` most similar pairs as
        (row, row, cosine similarity), most similar first.
    """
    pairs: list[tuple[float, int, int]] = []
    count = 0
    for start in range(0, len(vectors), AT_ONCE):
        similarity = vectors[start : start + AT_ONCE] @ vectors.T  # (batch, n)
        own = np.arange(start, start + len(similarity))
        similarity[splits[own][:, None] == splits[None, :]] = -1
        similarity[np.arange(len(vectors))[None, :] <= own[:, None]] = -1  # count each pair once
        count += int((similarity >= threshold).sum())
        best = np.argpartition(-similarity, min(max_pairs, similarity.size) - 1, axis=None)
        for a, b in zip(*np.unravel_index(best[:max_pairs], similarity.shape), strict=True):
            if similarity[a, b] > -1:
                pairs.append((-float(similarity[a, b]), start + int(a), int(b)))
        pairs = sorted(pairs)[:max_pairs]
    return count, [(a, b, -cosine) for cosine, a, b in pairs]


def connected_groups(vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Group images that are near-duplicates, directly or through other images.

    Args:
        vectors: Embeddings of length 1, (n, channels).
        threshold: Cosine similarity from which two images are near-duplicates.

    Returns:
        The number of each image's group, (n,).
    """
    groups = np.arange(len(vectors))
    candidates = _Candidates(vectors, threshold)
    for start in range(0, len(vectors), AT_ONCE):
        own = np.arange(start, min(start + AT_ONCE, len(vectors)))
        if (pairs := candidates.pairs(own)) is None:
            similar = vectors[own] @ vectors[start:].T >= threshold
            one, other = np.nonzero(similar)  # each image is similar to itself
            one, other = one + start, other + start
        else:
            one, other = pairs
            cosines = np.einsum("nc,nc->n", vectors[one], vectors[other])
            one, other = one[cosines >= threshold], other[cosines >= threshold]
        groups = merge(groups, one, other)
    return groups


class _Candidates:
    """Finds pairs of vectors that may be similar, without comparing all.

    The distance of two vectors is at least that of their projections. So all similar vectors are
    among those whose projections on a few principal components are near, which a k-d tree finds.

    Args:
        vectors: of length 1, (n, channels).
        threshold: The cosine similarity from which vectors are similar.
    """

    def __init__(self, vectors: np.ndarray, threshold: float) -> None:
        self.count = len(vectors)
        self.radius = np.sqrt(2 - 2 * threshold) + ROUNDING
        if self.count < FEW:
            return
        sample = vectors[np.linspace(0, self.count - 1, SAMPLE).astype(int)]
        sample = sample - sample.mean(axis=0)
        directions = np.random.default_rng(0).normal(size=(sample.shape[1], COMPONENTS))
        for _ in range(POWERS):  # nearly the principal components; any orthonormal ones are right
            directions = np.linalg.qr(sample.T @ (sample @ directions))[0]
        self.points = vectors @ directions
        self.tree = cKDTree(self.points)

    def pairs(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the rows of the pairs of `own`, or None if most vectors would have to be compared.

        Args:
            own: Row numbers, (m,).
        """
        if self.count < FEW:
            return None
        near = self.tree.query_ball_point(self.points[own], self.radius, return_length=True)
        if near.sum() > len(own) * self.count * MOST_NEAR:
            return None
        found = self.tree.query_ball_point(self.points[own], self.radius)
        return np.repeat(own, near), np.concatenate([np.array(each, int) for each in found])


def merge(groups: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Merge groups of rows that are connected.

    Args:
        groups: The number of each row's group, (n,), below n.
        one: Rows, (m,).
        other: The row that each of `one` is connected with, (m,).

    Returns:
        The number of each row's group, (n,).
    """
    edges = coo_array((np.ones(len(one), bool), (groups[one], groups[other])), [len(groups)] * 2)
    return connected_components(edges, directed=False)[1][groups]
