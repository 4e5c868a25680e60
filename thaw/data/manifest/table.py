"""Read a manifest file as a table of text: CSV, TSV, JSON Lines or Parquet."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thaw.errors import UserError, bullet_list

DELIMITERS = ",;\t|"
SAMPLE_ROWS = 100  # rows that decide on the delimiter
MAX_CELL = 10_000  # characters; longer cells are documents or masks, not properties of an image
GUIDE = "manifests"  # the page in docs/
UTF16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks


@dataclass
class Table:
    """The rows of one or several manifests. All cells are text, without spaces around them.

    Attributes:
        name: How messages name the manifest.
        columns: The names of the columns.
        rows: For each row its cells, in the order of `columns`.
        places: For each row where it is, such as "line 3".
        notes: What was left out, for the user.
        prefixes: For each row the folder that its path starts from, such as "train/".
    """

    name: str
    columns: list[str]
    rows: list[list[str]]
    places: list[str]
    notes: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        """Return the cells of a column."""
        position = self.columns.index(name)
        return [row[position] for row in self.rows]

    def paths(self, name: str) -> list[str]:
        """Return the cells of a column as paths, with their prefixes."""
        cells = self.column(name)
        if not any(self.prefixes):
            return cells
        both = zip(self.prefixes, cells, strict=True)
        return [prefix + cell if cell and cell[0] != "/" else cell for prefix, cell in both]


def read_manifest_file(path: Path, name: str) -> Table:
    """Return the content of a manifest.

    Args:
        path: A file whose suffix is in `READERS`.
        name: How messages name it.

    Raises:
        UserError: The file cannot be read, is not UTF-8, has no rows, rows of different lengths,
            or columns that share a name.
    """
    try:
        table = READERS[path.suffix.lower()](path, name)
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror or error}.") from None
    if not table.rows:
        raise UserError(f"{name} has no rows. Expected one for each image.")
    return _usable_columns(table)


def one_line(text: str) -> str:
    """Return text with spaces in place of line ends, and `?` for what UTF-8 cannot encode."""
    if text.isprintable():
        return text
    return " ".join(text.encode(errors="replace").decode().replace("\0", " ").splitlines())


def _usable_columns(table: Table) -> Table:
    """Return the table without columns that have no name or cells that are too long."""
    if repeated := sorted({n for n in table.columns if n and table.columns.count(n) > 1}):
        raise UserError(
            f"{table.name} has several columns named {', '.join(map(repr, repeated))}. "
            f"Expected different names: rename or remove one."
        )
    long = {
        name
        for position, name in enumerate(table.columns)
        if any(len(row[position]) > MAX_CELL for row in table.rows)
    }
    if long:
        table.notes.append(f"left out {', '.join(sorted(long))}: over {MAX_CELL:,} characters")
    if "" in table.columns:
        table.notes.append(f"left out {table.columns.count('')} column without a name")
    kept = [i for i, name in enumerate(table.columns) if name and name not in long]
    table.columns, names = [table.columns[i] for i in kept], table.columns
    if len(kept) < len(names):
        table.rows = [[row[i] for i in kept] for row in table.rows]
    return table


def _read_text(path: Path, name: str) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        found = "UTF-16" if content.startswith(UTF16) else "in another encoding"
        raise UserError(
            f"{name} is {found}: byte 0x{content[error.start]:02x} in line {line} is not UTF-8. "
            f"Save it as UTF-8 (in Excel: CSV UTF-8), or convert it: "
            f"iconv -f {'UTF-16' if found == 'UTF-16' else 'WINDOWS-1252'} -t UTF-8 OLD > NEW."
        ) from None


def _read_csv(path: Path, name: str) -> Table:
    text = _read_text(path, name)
    delimiter = _delimiter(text)
    rows, places = [], []
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append([cell.strip() for cell in row])
                places.append(f"line {reader.line_num}")
    except csv.Error as error:
        reason = str(error).replace("end of data", "end: a quote is not closed")
        raise UserError(
            f"{name}, line {reader.line_num}: {reason}. Expected CSV in which a cell with quotes "
            f"or delimiters is quoted."
        ) from None
    if not rows:
        raise UserError(f"{name} is empty. Expected a header and a row for each image.")
    header, rows, places = rows[0], rows[1:], places[1:]
    bad = [
        f"{place}: {len(row)} cells"
        for row, place in zip(rows, places, strict=True)
        if len(row) != len(header)
    ]
    if bad:
        raise UserError(
            f"{len(bad)} rows of {name} differ from its header, which has {len(header)} columns "
            f"(delimiter {delimiter!r}). Correct or remove them:\n{bullet_list(bad)}"
        )
    return Table(name, header, rows, places)


def _delimiter(text: str) -> str:
    """Return the delimiter that gives most columns, if possible the same number in each row."""

    def widths(delimiter: str) -> list[int]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        found: list[int] = []
        try:
            for row in reader:
                if any(row):
                    found.append(len(row))
                if len(found) > SAMPLE_ROWS:
                    break
        except csv.Error:
            pass
        return found or [0]

    def score(delimiter: str) -> tuple[bool, int]:
        found = widths(delimiter)
        return found[0] > 1 and len(set(found)) == 1, found[0]

    return max(DELIMITERS, key=score)


def _read_json_lines(path: Path, name: str) -> Table:
    records, places = [], []
    for number, line in enumerate(_read_text(path, name).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            # numbers stay as they are written
            record = json.loads(line, parse_float=str, parse_int=str, parse_constant=lambda _: None)
            if not isinstance(record, dict):
                raise ValueError("it is no object")
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{name}, line {number}: {error}. Expected one JSON object in each line."
            ) from None
        records.append(record)
        places.append(f"line {number}")
    names = list(dict.fromkeys(key for record in records for key in record))
    return _from_values(name, {n: [record.get(n) for record in records] for n in names}, places)


def _read_parquet(path: Path, name: str) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            f"{name}: Parquet files need the package pyarrow. Install it with "
            f"`make setup EXTRA=parquet`, or save the manifest as CSV."
        ) from None
    try:
        opened = pyarrow.parquet.ParquetFile(path)
        kinds = {field.name: field.type for field in opened.schema_arrow}
        # binary columns may be the images themselves, too large to read for nothing
        skipped = {n for n, kind in kinds.items() if _holds_objects(kind)}
        read = opened.read([n for n in kinds if n not in skipped and not n.startswith("__index_")])
        values = {n: read.column(n).to_pylist() for n in read.column_names}
    except (pyarrow.ArrowException, ValueError, KeyError) as error:
        raise UserError(
            f"{name} is no readable Parquet file: {' '.join(str(error).split())[:200]}."
        ) from None
    places = [f"row {number}" for number in range(1, read.num_rows + 1)]
    return _from_values(name, values | {n: [{}] for n in skipped}, places)


def _holds_objects(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    binary = types.is_binary(kind) or types.is_large_binary(kind)
    return bool(binary or types.is_fixed_size_binary(kind) or types.is_nested(kind))


def _from_values(name: str, values: dict[str, list[Any]], places: list[str]) -> Table:
    """Return a table of text from columns of values. Columns with objects are left out."""
    objects = [n for n, cells in values.items() if any(isinstance(c, dict | list) for c in cells)]
    names = [n for n in values if n not in objects]
    columns = [[_as_text(cell) for cell in values[n]] for n in names]
    rows = [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in places]
    notes = [f"left out {', '.join(objects)}: lists, objects or bytes"] if objects else []
    return Table(name, [n.strip() for n in names], rows, places, notes)


def _as_text(value: Any) -> str:
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # pandas stores integers with missing values as floats
    return str(value).strip()


READERS: dict[str, Callable[[Path, str], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
