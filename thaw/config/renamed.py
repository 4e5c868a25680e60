"""Parameters that were renamed, by their old name. `*` stands for one part of a name."""

import fnmatch

RENAMED = {  # since November 2026
    "scheme": "derived.scheme",
    "doubts": "audits",
    "doubts.*": "audits.*",
    "dataset.limit": "dataset.max_train_images",
    "dataset.positive": "dataset.positive_class",
    "dataset.symmetries": "dataset.allowed_flips",
    "dataset.image.bits": "dataset.image.bit_depth",
    "dataset.source.inventory": "derived.source.inventory",
    "dataset.source.scan": "derived.source.scan",
    "audits.*.near": "audits.*.near_duplicate_similarity",
    "audits.*.neighbours": "audits.*.k",
    "audits.*.compared": "audits.*.max_images",
    "audits.*.labelled": "audits.*.train_sizes",
    "audits.*.draws": "audits.*.repeats",
    "finetunes.*.fresh": "finetunes.*.reinitialize_head",
    "finetunes.*.features": "derived.finetunes.*.features",
    "finetunes.*.through": "finetunes.*.cached",
    "finetunes.*.views": "finetunes.*.augmented_views",
    "finetunes.*.average_flips": "finetunes.*.test_time_augmentation",
    "networks.*.slope": "networks.*.negative_slope",
    "networks.*.base": "networks.*.stem_filters",
    "networks.*.towers": "networks.*.branches",
    "networks.*.reduced": "networks.*.bottleneck",
    "networks.*.halved": "networks.*.downsample",
    "*.*.loss_file": "*.*.losses.*.function",
    "*.*.losses.*.at": "*.*.losses.*.output",
    "*.*.losses.*.reads": "*.*.losses.*.layer",
    "*.*.confidence_weight": "dataset.confidence_weight",
    "*.*.learning_rate": "*.*.optimizer.learning_rate",
    "*.*.epsilon": "*.*.optimizer.epsilon",
    "*.*.momentum": "*.*.optimizer.momentum",
    "*.*.weight_decay": "*.*.optimizer.weight_decay",
}


def renamed(key: str) -> str | None:
    """Return the message for a parameter that was renamed, or None if it was not.

    Example:
        >>> renamed("dataset.limit")
        'dataset.limit was renamed to dataset.max_train_images.'
    """
    for old, new in RENAMED.items():
        if old.count(".") == key.count(".") and fnmatch.fnmatchcase(key, old):
            pairs = zip(key.split("."), old.split("."), strict=True)
            parts = [part for part, pattern in pairs if pattern == "*"]
            while parts and "*" in new:
                new = new.replace("*", parts.pop(0), 1)
            return f"{key} was renamed to {new.replace('*', 'TERM')}."
    return None
