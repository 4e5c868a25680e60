"""Where the images of a split lie: its rows beside those of the index."""

import pandas as pd


def located(split: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame | None:
    """The rows of data/split.csv with the columns path and sha256 of data/index.csv; none where the
    two are not of one run.

    Args:
        split: as read, with its rows of images that are unused or skipped.
        index: as read, all columns as text.
    """
    # stage split wrote its rows in this order
    ordered = pd.concat([index[index["problem"] == ""], index[index["problem"] != ""]])
    ordered = ordered.sort_values(["pixels", "label", "sha256"])
    if ordered["pixels"].tolist() != split["pixels"].tolist():
        return None
    paths = {name: ordered[name].tolist() for name in ("path", "sha256")}
    return split.assign(**paths).reset_index(drop=True)
