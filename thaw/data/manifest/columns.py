"""Find out which column of a manifest has the paths, the labels, the split and so on."""

import re
from dataclasses import dataclass

from thaw.config.base import Section, did_you_mean
from thaw.data import folder_names
from thaw.data.manifest.matching import ImageFolder, Matches
from thaw.data.manifest.table import GUIDE, Table
from thaw.errors import UserError, see

# Names by which columns are detected, without case, spaces and punctuation
PATHS = {
    "filename", "filenames", "filepath", "file", "path", "image", "imagename", "imagepath",
    "imagefile", "imagefilename", "imageid", "img", "imgname", "imgpath", "imgid", "id", "idcode",
}  # fmt: skip
LABELS = {
    "label", "labels", "labelname", "class", "classes", "classname", "classlabel", "category",
    "target", "diagnosis", "dx", "species", "breed",
}  # fmt: skip
SPLIT_COLUMNS = {"split", "subset", "partition", "set", "phase", "usage", "fold"}
CONFIDENCES = {"confidence", "labelconfidence", "sampleweight"}
# Words in the name of a column whose images probably belong together
GROUP_WORDS = {
    "group", "patient", "subject", "person", "participant", "lesion",
    "case", "video", "clip", "sequence", "session", "scene", "camera",
    "hospital", "scanner", "slide", "specimen", "batch", "day", "date", "part", "user",
    "individual",
}  # fmt: skip
ONES, ZEROS = {"1", "1.0", "true"}, {"0", "0.0", "false"}


class Columns(Section):
    """`dataset.source.columns`: null detects a column, "" uses none."""

    path: str | None = None
    """Path or name of the image file, with or without extension."""
    label: str | list[str] | None = None
    """The class; or the columns of a one-hot encoding."""
    split: str | None = None
    """train, validation or test."""
    group: str | None = None
    """A property, such as the type of a part, by which the report divides the results.
    `dataset.split.group` keeps images together."""
    confidence: str | None = None
    """Weight of the image in training, from 0."""


@dataclass
class Roles:
    """The column for each role ("" for none), and the files that the paths name."""

    path: str
    label: str | list[str]
    split: str
    group: str
    confidence: str
    matches: Matches

    def used(self) -> set[str]:
        """Return the columns that `further` leaves out."""
        labels = self.label if isinstance(self.label, list) else [self.label]
        group = "group" if self.group == "group" else ""  # others keep their names too
        return {self.path, *labels, self.split, self.confidence, group}


def split_of(cell: str) -> str | None:
    """Return train, validation or test for a name of that split, as folders have it."""
    split = folder_names.split_of(cell)
    return split if split in folder_names.SPLITS else None


def find_columns(table: Table, columns: Columns, folder: ImageFolder) -> Roles:
    """Return the column of each role, as the parameters say or as the names and cells imply.

    Raises:
        UserError: A column does not exist, none or several may have the paths or the labels.
    """
    for role, value in columns:
        _check_chosen(table, role, value)
    taken = {name for _, value in columns for name in _listed(value)}

    def detected(role: str, chosen: str | None, candidates: list[str]) -> str:
        found = _one_of(table, role, candidates) if chosen is None else chosen
        taken.add(found)
        return found

    split = detected("split", columns.split, _split_candidates(table, taken))
    group = detected("group", columns.group, _named(table, {"group"}, taken))
    confidence = detected("confidence", columns.confidence, _named(table, CONFIDENCES, taken))
    if columns.path:
        path, matches = columns.path, folder.match(table.paths(columns.path))
    else:
        path, matches = _path_column(table, folder, taken)
    label = columns.label or _label_column(table, taken | {path})
    return Roles(path, label, split, group, confidence, matches)


def group_like(table: Table, roles: Roles) -> list[str]:
    """Return the columns whose name and cells suggest that their images belong together."""
    named = [c for c in table.columns if _is_group_name(c) and c not in roles.used() - {"group"}]
    return [c for c in named if 1 < len(set(table.column(c))) < len(table.rows)]


def _is_group_name(name: str) -> bool:
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    return not GROUP_WORDS.isdisjoint(words)


def _listed(value: str | list[str] | None) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _named(table: Table, names: set[str], taken: set[str]) -> list[str]:
    return [c for c in table.columns if _plain(c) in names and c not in taken]


def _check_chosen(table: Table, role: str, value: str | list[str] | None) -> None:
    """Refuse a parameter that names a column which does not exist."""
    for name in _listed(value):
        if name not in table.columns:
            raise UserError(
                f"dataset.source.columns.{role} = {name!r}: {table.name} has no such column. "
                f"Expected one of {', '.join(table.columns)}.{did_you_mean(name, table.columns)}"
            )


def _one_of(table: Table, role: str, candidates: list[str]) -> str:
    """Return the only candidate, or "" if there is none."""
    if len(candidates) > 1:
        raise UserError(
            f"{table.name} has several columns that may be the {role}: {', '.join(candidates)}. "
            f"Choose one: -S 'dataset.source.columns.{role}=\"{candidates[0]}\"'. "
            f"{see(GUIDE, 'columns')}"
        )
    return candidates[0] if candidates else ""


def _split_candidates(table: Table, taken: set[str]) -> list[str]:
    """Return the columns with the name of a split, and with at least one of its values."""
    return [
        name
        for name in _named(table, SPLIT_COLUMNS, taken)
        if any(split_of(cell) for cell in table.column(name))
        or (_plain(name) == "split" and any(table.column(name)))
    ]


def _path_column(table: Table, folder: ImageFolder, taken: set[str]) -> tuple[str, Matches]:
    """Return the column whose cells name files, and these. Known names come first."""
    named = _named(table, PATHS, taken)
    others = [c for c in table.columns if c not in named and c not in taken]
    matches = {}
    for candidates in (named, others):
        matches = {c: folder.match(table.paths(c)) for c in candidates}
        matches = {c: found for c, found in matches.items() if found.any()}
        if any(found.exact for found in matches.values()):  # surer than numbers that are names too
            matches = {c: found for c, found in matches.items() if found.exact}
        if matches:
            break
    if not matches and len(named) == 1:
        return named[0], folder.match(table.paths(named[0]))
    if not matches:
        header = any("." in c and folder.match([c]).any() for c in table.columns)
        fix = (
            "Its first line must be a header, such as path,label"
            if header
            else "Set dataset.source.columns.path, or dataset.source.images to their folder"
        )
        raise UserError(
            f"no column of {table.name} ({', '.join(table.columns)}) names files below "
            f"{folder.name}. {fix}.{''.join(f' It {note}.' for note in table.notes)}"
        )
    column, first = next(iter(matches.items()))
    if any(found.files != first.files for found in matches.values()):
        _one_of(table, "path", list(matches))
    return column, first


def _label_column(table: Table, taken: set[str]) -> str | list[str]:
    """Return the column with a known name, those of a one-hot encoding, or the only one left."""
    if named := _one_of(table, "label", _named(table, LABELS, taken)):
        if all(split_of(cell) for cell in table.column(named) if cell):
            raise UserError(
                f"{table.name}: all cells of the column {named} are names of splits. Expected "
                f"classes. Set dataset.source.columns.label (and .split) to the right columns."
            )
        return named
    left = [c for c in table.columns if c not in taken]
    one_hot = [c for c in left if _is_one_hot(table.column(c))]
    if len(one_hot) > 1:
        return one_hot
    likely = [c for c in left if not _is_group_name(c)]
    if len(likely) == 1 and len(set(table.column(likely[0]))) < len(table.rows):
        return likely[0]
    raise UserError(
        f"{table.name} has no column that is clearly the label. Its other columns: "
        f"{', '.join(left) or 'none'}. Set dataset.source.columns.label to one of them, or to the "
        f"list of columns of a one-hot encoding. {see(GUIDE, 'columns')}"
    )


def _is_one_hot(cells: list[str]) -> bool:
    distinct = {cell.lower() for cell in cells if cell}
    return bool(distinct) and distinct <= ONES | ZEROS
