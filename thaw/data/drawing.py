"""Draw groups of images at random, so that the shares of all strata are as equal as possible."""

from collections import Counter

import numpy as np
import pandas as pd

MOST_ATTEMPTS = 50  # random orders that are tried; more improve the proportions little
MOST_PASSES = 10  # over all groups, to improve an attempt
MOST_STEPS = 100_000  # groups times attempts, or passes: a few seconds
LITTLE = 1e-9  # a difference that is only rounding
ABSENT = 1e12  # cost of a class that could be drawn and is not: above all others


def draw_groups(images: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """Draw whole groups of images at random.

    The drawn images are as close as possible to `share` of all images first, and of each stratum
    second. At least one group of each class is left, and at least one is drawn where that does not
    double the share. Groups are added in random order where this brings the draw closer to the
    target, then single groups are moved in or out. The best of several orders is returned.

    Args:
        images: Columns split_group, stratum and label; the draw depends on their order.
        share: Of the images to draw.
        seed: Of the random orders.

    Returns:
        One bool for each row, True for drawn images.
    """
    numbers = images["split_group"].factorize()[0]
    draw = _Draw(images, numbers, share)
    affordable = MOST_STEPS // len(draw.sizes)
    passes = int(np.clip(affordable, 2, MOST_PASSES))
    random = np.random.default_rng(seed)
    best, lowest = np.zeros(len(draw.sizes), bool), np.inf
    for _ in range(int(np.clip(affordable, 1, MOST_ATTEMPTS))):
        drawn, cost = draw.attempt(random.permutation(len(best)).tolist(), passes)
        if cost < lowest - LITTLE:
            best, lowest = drawn, cost
        if lowest < LITTLE:
            break
    return best[numbers]


class _Draw:
    """The groups, the target and the cost of a draw."""

    def __init__(self, images: pd.DataFrame, numbers: np.ndarray, share: float) -> None:
        count = int(numbers.max()) + 1
        self.sizes = np.bincount(numbers, minlength=count).tolist()
        self.strata = _counts(numbers, images["stratum"], count)  # (stratum, images) of each group
        self.labels = _counts(numbers, images["label"], count)
        self.target = share * len(images)
        in_stratum = Counter(images["stratum"].factorize()[0].tolist())
        self.targets = [share * in_stratum[number] for number in range(len(in_stratum))]
        self.groups_of = Counter(label for group in self.labels for label, _ in group)
        smallest: dict[int, int] = {}
        for size, labels in zip(self.sizes, self.labels, strict=True):
            for label, _ in labels:
                smallest[label] = min(size, smallest.get(label, size))
        wanted = [label for label, groups in self.groups_of.items() if groups > 1]
        covers = sum(smallest[label] for label in wanted) <= 2 * self.target
        self.wanted = set(wanted) if covers else set()

    def attempt(self, order: list[int], passes: int) -> tuple[np.ndarray, float]:
        """Return which groups are drawn if they are considered in this order, and the cost."""
        drawn, total = [False] * len(order), 0
        strata, labels = [0] * len(self.targets), [0] * len(self.groups_of)
        for _ in range(passes):
            changed = False
            for group in order:
                sign = -1 if drawn[group] else 1
                if not self._allowed(group, sign, labels):
                    continue
                if self._change(group, sign, total, strata, labels) < -LITTLE:
                    drawn[group], changed = not drawn[group], True
                    total += sign * self.sizes[group]
                    for stratum, count in self.strata[group]:
                        strata[stratum] += sign * count
                    for label, _ in self.labels[group]:
                        labels[label] += sign
            if not changed:
                break
        return np.array(drawn), self._cost(total, strata, labels)

    def _allowed(self, group: int, sign: int, labels: list[int]) -> bool:
        """Return whether each class keeps a group that is not drawn, and if wanted one that is."""
        if sign > 0:
            return all(labels[label] + 1 < self.groups_of[label] for label, _ in self.labels[group])
        return all(labels[label] > 1 or label not in self.wanted for label, _ in self.labels[group])

    def _change(
        self, group: int, sign: int, total: int, strata: list[int], labels: list[int]
    ) -> float:
        """Return how the cost changes if a group is drawn (sign 1) or put back (-1)."""
        if sign > 0 and any(
            label in self.wanted and not labels[label] for label, _ in self.labels[group]
        ):
            return -np.inf  # the first drawn group of a class
        size = self.sizes[group]
        change = len(strata) * size * (size + 2 * sign * (total - self.target)) / self.target
        for stratum, count in self.strata[group]:
            target = self.targets[stratum]
            change += count * (count + 2 * sign * (strata[stratum] - target)) / max(target, 1)
        return change

    def _cost(self, total: int, strata: list[int], labels: list[int]) -> float:
        """Return the squared deviations from the targets, relative to them."""
        absent = sum(not labels[label] for label in self.wanted)
        cost = len(strata) * (total - self.target) ** 2 / self.target
        cost += sum(
            (count - target) ** 2 / max(target, 1)
            for count, target in zip(strata, self.targets, strict=True)
        )
        return cost + absent * ABSENT


def _counts(numbers: np.ndarray, values: pd.Series, count: int) -> list[list[tuple[int, int]]]:
    """Return for each group how many of its images have each value, by the value's number."""
    pairs = Counter(zip(numbers.tolist(), values.factorize()[0].tolist(), strict=True))
    found: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for (number, value), images in pairs.items():
        found[number].append((value, images))
    return found
