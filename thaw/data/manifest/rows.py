"""Turn the rows of a manifest into images: one for each file, without contradictions."""

import math
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass

from thaw.data.folder_names import normalized
from thaw.data.inventory import SourceNotHere
from thaw.data.manifest.columns import ONES, ZEROS, Roles, group_like, split_of
from thaw.data.manifest.matching import ImageFolder
from thaw.data.manifest.table import GUIDE, Table, one_line
from thaw.errors import UserError, bullet_list, printable, see
from thaw.storage.tables import INDEX_COLUMNS, SPLIT_COLUMNS

FORBIDDEN = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: control, surrogates, line ends
DECISIVE = ("label", "split", "group")  # rows of one image may not differ in these
RESERVED = {*INDEX_COLUMNS, *SPLIT_COLUMNS, "split_group"}  # columns that the pipeline writes
SHOWN = 3  # examples in a note


@dataclass
class Manifest:
    """The images that a manifest names.

    Attributes:
        rows: For each image its `path` from the folder of images, `label` ("" for unlabelled),
            `split`, `group`, `confidence` ("" for none), and the manifest's further columns.
        notes: What the user should know, one line each.
    """

    rows: list[dict[str, str]]
    notes: list[str]


def resolve(table: Table, roles: Roles, folder_splits: list[str], folder: ImageFolder) -> Manifest:
    """Return one row for each image, after checks of all cells that matter.

    Args:
        table: The manifest.
        roles: Which column has what.
        folder_splits: The split of each row that its manifest's folder names; empty for none.
        folder: The files.

    Raises:
        SourceNotHere: None of the files exists.
        UserError: A file is missing or ambiguous, or a cell is invalid or contradicts another.
    """
    paths = _files(table, roles, folder)
    labels = _labels(table, roles)
    cells = {
        "path": paths,
        "label": labels,
        "split": _splits(table, roles, folder_splits, labels),
        "group": table.column(roles.group) if roles.group else [""] * len(paths),
        "confidence": _confidences(table, roles),
    }
    for key in ("label", "group"):
        _refuse_unprintable(table, key, cells[key])
    further = _further(table, roles)
    for column, name in further.items():
        cells[name] = [one_line(cell) for cell in table.column(column)]
    rows, merged = _merge(table, cells)
    classes = sorted({row["label"] for row in rows} - {""})
    if len(classes) < 2:
        raise UserError(
            f"{table.name} has {len(classes)} classes{f', {classes[0]!r}' if classes else ''}. "
            f"Expected two or more in the column {roles.label}. Another column: "
            f"-S dataset.source.columns.label=NAME."
        )
    how = _understood(roles, sorted({*folder_splits}), list(further))
    counts = f"{len(table.rows):,} rows, {len(rows):,} images, {len(classes):,} classes"
    notes = [f"{table.name}: {counts} ({how})", *table.notes, *merged]
    notes += _remarks(table, roles, rows, further, folder)
    return Manifest(rows, notes)


def _files(table: Table, roles: Roles, folder: ImageFolder) -> list[str]:
    """Return the one file of each row."""
    names, matches = table.paths(roles.path), roles.matches
    missing: list[str] = []
    several = []
    for name, files, place in zip(names, matches.files, table.places, strict=True):
        if not files:
            hint = folder.similar(name) if len(missing) < 20 else ""
            missing.append(f"{place}: {printable(name) or '(empty)'}{hint}")
        elif len(files) > 1:
            several.append(f"{place}: {name} = {' or '.join(files[:SHOWN])}")
    if missing:
        message = (
            f"{len(missing)} of {len(names)} rows of {table.name} name files that are not in "
            f"{folder.name} (column {roles.path}). Correct the rows, add the files, or set "
            f"dataset.source.images to the folder that the paths start from:\n"
            f"{bullet_list(missing)}\n{see(GUIDE, 'paths')}"
        )
        raise UserError(message) if matches.any() else SourceNotHere(message)
    if several:
        raise UserError(
            f"{len(several)} rows of {table.name} name several files in {folder.name}. Write "
            f"the path with its extension, or set dataset.source.images to a folder that has one "
            f"of them:\n{bullet_list(several)}\n{see(GUIDE, 'paths')}"
        )
    return [files[0] for files in matches.files]


def _labels(table: Table, roles: Roles) -> list[str]:
    if isinstance(roles.label, str):
        return list(map(normalized, table.column(roles.label)))
    columns = [table.column(name) for name in roles.label]
    labels, none, several = [], [], []
    for number, place in enumerate(table.places):
        cells = [column[number].lower() for column in columns]
        if invalid := {cell for cell in cells if cell and cell not in ONES | ZEROS}:
            raise UserError(
                f"{table.name}, {place}: {min(invalid)!r} in a column of "
                f"{', '.join(roles.label)}. Expected 0 or 1, as in a one-hot encoding."
            )
        ones = [name for name, cell in zip(roles.label, cells, strict=True) if cell in ONES]
        name = table.column(roles.path)[number] if len(ones) != 1 and any(cells) else ""
        if len(ones) > 1:
            several.append(f"{place}: {name} is {' and '.join(ones)}")
        elif not ones and any(cells):
            none.append(f"{place}: {name} is nothing")
        labels.append(ones[0] if len(ones) == 1 else "")
    if none or several:
        raise UserError(
            f"{table.name}: {len(none)} rows have a 1 in none of the columns "
            f"{', '.join(roles.label)}, {len(several)} rows in several of them. Expected exactly "
            f"one class for each image. Correct or remove these rows, or set "
            f"dataset.source.columns.label:\n{bullet_list([*none[:10], *several[:10]])}\n"
            f"{see(GUIDE, 'columns')}"
        )
    return labels


def _splits(table: Table, roles: Roles, folders: list[str], labels: list[str]) -> list[str]:
    """Return train, validation, test or "" for each row."""
    cells = table.column(roles.split) if roles.split else folders or [""] * len(table.rows)
    splits = [split_of(cell) or "" for cell in cells]
    if unknown := sorted({c for c, s in zip(cells, splits, strict=True) if c and not s}):
        raise UserError(
            f"{table.name}: the column {roles.split} has the values "
            f"{', '.join(map(repr, unknown[:20]))}. Expected names of splits such as train, "
            f"validation (val) and test. If it is no split: "
            f"-S 'dataset.source.columns.split=\"\"'."
        )
    both = list(zip(splits, labels, table.places, strict=True))
    if any(splits) and (without := [place for split, label, place in both if label and not split]):
        raise UserError(
            f"{len(without)} of {len(cells)} rows of {table.name} have a label and no split "
            f"(column {roles.split}). Complete them, or let Thaw draw all splits: "
            f"-S 'dataset.source.columns.split=\"\"':\n{bullet_list(without)}"
        )
    labelled = {split for split, label, _ in both if label}
    if labelled and labelled != {""} and "train" not in labelled:
        raise UserError(
            f"{table.name} has {', '.join(sorted(labelled))} images but no train images "
            f"with a label. Expected some to train on."
        )
    return splits


def _confidences(table: Table, roles: Roles) -> list[str]:
    if not roles.confidence:
        return [""] * len(table.rows)
    cells = table.column(roles.confidence)
    values = [_number(cell) if cell else 1.0 for cell in cells]
    rows = list(zip(values, cells, table.places, strict=True))
    if bad := [f"{place}: {cell}" for value, cell, place in rows if not value >= 0]:
        raise UserError(
            f"{len(bad)} cells of the column {roles.confidence} of {table.name} are no weights. "
            f"Expected numbers from 0, or empty cells:\n{bullet_list(bad)}"
        )
    return cells


def _number(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _refuse_unprintable(table: Table, key: str, cells: list[str]) -> None:
    """Refuse line ends and other control characters, which tables and messages cannot show."""
    bad = [
        f"{place}: {cell!r}"
        for cell, place in zip(cells, table.places, strict=True)
        if not cell.isprintable() and not FORBIDDEN.isdisjoint(map(unicodedata.category, cell))
    ]
    if bad:
        raise UserError(
            f"{len(bad)} cells of {table.name} (the {key}) contain line ends or control "
            f"characters. Remove these:\n{bullet_list(bad)}"
        )


def _further(table: Table, roles: Roles) -> dict[str, str]:
    """Return the column of the index for each further column of the manifest."""
    names: dict[str, str] = {}
    for column in table.columns:
        if column in roles.used():
            continue
        name = one_line(column)
        while name in RESERVED | {*names.values()}:
            name = f"manifest_{name}"
        names[column] = name
    return names


def _merge(table: Table, cells: dict[str, list[str]]) -> tuple[list[dict[str, str]], list[str]]:
    """Return one row for each file, and a note about rows that were merged."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, path in enumerate(cells["path"]):
        numbers[path].append(number)
    repeated = {path: which for path, which in numbers.items() if len(which) > 1}
    for key in DECISIVE:
        bad = []
        for path, which in repeated.items():
            values = [cells[key][n] or "(none)" for n in which]
            if len(set(values)) > 1:
                where = [f"{v} ({table.places[n]})" for v, n in zip(values, which, strict=True)]
                bad.append(f"{path}: {', '.join(where[:SHOWN])}")
        if bad:
            raise UserError(
                f"{len(bad)} images of {table.name} have rows with a different {key}. Keep one "
                f"row of each:\n{bullet_list(bad)}\n{see(GUIDE, 'what-stops-the-run')}"
            )
    rows = [{key: column[which[0]] for key, column in cells.items()} for which in numbers.values()]
    if not repeated:
        return rows, []
    count = len(cells["path"]) - len(rows)
    others = [key for key in cells if key not in (*DECISIVE, "path")]
    differ = [
        key for key in others if any(len({cells[key][n] for n in w}) > 1 for w in repeated.values())
    ]
    kept = f"; of {', '.join(differ)} the first row's value is kept" if differ else ""
    return rows, [f"merged {count:,} rows that repeat an image with the same label{kept}"]


def _understood(roles: Roles, folders: list[str], further: list[str]) -> str:
    """Return how the columns were understood."""
    how = "" if roles.matches.exact else ", without extension"
    how += ", found in sub-folders" if roles.matches.below else ""
    label = roles.label if isinstance(roles.label, str) else "one-hot columns"
    parts = [f"path = {roles.path}{how}", f"label = {label}"]
    for key in ("split", "group", "confidence"):
        if name := getattr(roles, key):
            parts.append(f"{key} = {name}")
    if folders:
        parts.append(f"split = folders {', '.join(folders)}")
    if further:
        parts.append(f"also kept: {', '.join(further)}")
    return printable("; ".join(parts))


def _remarks(
    table: Table,
    roles: Roles,
    rows: list[dict[str, str]],
    further: dict[str, str],
    folder: ImageFolder,
) -> list[str]:
    """Return what else the user should know."""
    notes = []
    for column, name in further.items():
        if name != column:
            notes.append(f"renamed the column {printable(column)} to {name}: the name is taken")
    counts = Counter(row["label"] for row in rows)
    if counts[""]:
        notes.append(f"{counts['']:,} images have no label: they are kept as unlabelled")
    if isinstance(roles.label, list) and (empty := [c for c in roles.label if not counts[c]]):
        notes.append(f"no image is of {', '.join(empty)}")
    named = {row["path"] for row in rows}
    if unlisted := [image for image in folder.images() if image not in named]:
        shown = ", ".join(map(printable, unlisted[:SHOWN]))
        more = ", ..." if len(unlisted) > SHOWN else ""
        notes.append(
            f"ignored {len(unlisted):,} images in {folder.name} that {table.name} does not "
            f"name: {shown}{more}"
        )
    if not any(row["split"] for row in rows):
        for column in group_like(table, roles)[:SHOWN]:
            value = f"'dataset.split.group=\"{column}\"'" if " " in column else ""
            count = len(set(table.column(column)))
            notes.append(
                f"{column} may group images that belong together ({count:,} groups). To keep each "
                f"group in one split: -S {value or f'dataset.split.group={column}'}"
            )
    return notes
