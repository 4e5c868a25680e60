"""Invalid tables and array folders, and the functions that read them."""

from collections.abc import Iterator
from pathlib import Path

from thaw.data.split_table import SplitTable
from thaw.storage.arrays import ArrayFolder

HEADER = "pixel_sha256,label,class,group,confidence,split\n"
GOOD = HEADER + "".join(
    f"{n:064x},{'ab'[n % 2]},{n % 2},,,{s}\n" for n, s in enumerate(["train", "test"] * 4)
)


def target(argument: dict[str, str]) -> None:
    """Read the table or the array folder that `argument` names."""
    if argument["what"] == "split":
        SplitTable(argument["path"])
    else:
        ArrayFolder(Path(argument["path"]).parent)


def corpus() -> Iterator[tuple[str, bytes, str | None]]:
    """Yield tables as (description, content, expected outcome or None)."""
    yield "good", GOOD.encode(), None
    yield "empty", b"", "refused"
    yield "header without rows", HEADER.encode(), "refused"
    yield "binary", bytes(range(256)) * 20, "refused"
    yield "UTF-16", GOOD.encode("utf-16"), "refused"
    for name in HEADER.strip().split(","):
        yield f"without column {name}", GOOD.replace(name, "x", 1).encode(), "refused"
    yield "unknown split", GOOD.replace("train", "trian").encode(), "refused"
    yield "label with two class numbers", GOOD.replace(",a,0", ",a,1", 1).encode(), "refused"
    yield "class that is not a number", GOOD.replace(",a,0", ",a,x", 1).encode(), "refused"
    yield "empty class", GOOD.replace(",a,0", ",a,", 1).encode(), "refused"
    yield "gap in the class numbers", GOOD.replace(",b,1", ",b,7").encode(), "refused"
    yield "too long row", (GOOD + "a,b,c,d,e,f,g,h\n").encode(), "refused"
    yield "unclosed quote", (GOOD + '"').encode(), "refused"
