"""The file with the names of the classes that every export contains."""

LABELS = "labels.txt"


def labels_text(classes: list[str]) -> str:
    """Return the content of labels.txt: one name a line, in the order of the probabilities.

    White space in a name becomes single spaces, so that a name never takes two lines.
    """
    return "".join(" ".join(name.split()) + "\n" for name in classes)
