"""Indexes and splits that are none, and what reads them."""

from pathlib import Path

from thaw.data.split_table import SplitTable
from thaw.storage.arrays import ArrayFolder

HEAD = "pixels,label,class,group,confidence,split\n"
GOOD = HEAD + "".join(
    f"{n:064x},{'ab'[n % 2]},{n % 2},,,{s}\n" for n, s in enumerate(["train", "test"] * 4)
)


def target(given: dict) -> None:
    if given["what"] == "split":
        SplitTable(given["path"])
    else:
        ArrayFolder(Path(given["path"]).parent)


def corpus():
    """Each as (what it is, content, how it must end)."""
    yield "good", GOOD.encode(), None
    yield "empty", b"", "refused"
    yield "a heading alone", HEAD.encode(), "refused"
    yield "binary", bytes(range(256)) * 20, "refused"
    yield "UTF-16", GOOD.encode("utf-16"), "refused"
    for name in HEAD.strip().split(","):
        yield f"no {name}", GOOD.replace(name, "x", 1).encode(), "refused"
    yield "an unknown split", GOOD.replace("train", "trian").encode(), "refused"
    yield "a label with two numbers", GOOD.replace(",a,0", ",a,1", 1).encode(), "refused"
    yield "a number that is none", GOOD.replace(",a,0", ",a,x", 1).encode(), "refused"
    yield "no number", GOOD.replace(",a,0", ",a,", 1).encode(), "refused"
    yield "a gap in the numbers", GOOD.replace(",b,1", ",b,7").encode(), "refused"
    yield "a row too long", (GOOD + "a,b,c,d,e,f,g,h\n").encode(), "refused"
    yield "an open quote", (GOOD + '"').encode(), "refused"
