"""Rows as plain data: read from files and data sets, written as snapshots.

Every problem is told with the file and the line. Row n of a JSONL file is its line n: a blank line
within the file is refused, because that is what a torn write leaves behind.
"""

import csv
import gzip
import hashlib
import io
import json
import logging
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import Path

from lori_core.config import DataSource
from lori_core.digests import write_atomic
from lori_core.errors import BadInput, RowRefused

Row = dict[str, object]

ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".parquet")
"""The files rows can be read from."""


def read_rows(source: DataSource) -> list[Row]:
    """Read the rows of a source, in its order, at most `source.limit` of them.

    Rows without an `id` get one from their number (`row-000001`).

    Raises:
        BadInput: the source is missing, unreadable, damaged (with the line), empty, holds something
            that is not a row, or two rows with one id.
    """
    where = source_name(source)
    if source.path is not None:
        reader = _reader(source.path)
        rows = list(islice(_opened(Path(source.path), reader), source.limit))
    else:
        rows = list(_dataset(source))
    if not rows:
        raise BadInput(f"{where} is empty", "at least one row", "Check how it was written.")
    return _with_ids(rows, where, "line" if ".jsonl" in (source.path or "") else "row")


def source_name(source: DataSource) -> str:
    """What to call a source in a message: its path, or its data set, configuration and split."""
    if source.path is not None:
        return source.path
    return " ".join(part for part in (source.dataset, source.name, source.split) if part)


def row_places(source: DataSource, count: int) -> Iterator[str]:
    """Where each of the first `count` rows stands, for messages: `train.jsonl line 3`."""
    unit = "line" if ".jsonl" in (source.path or "") else "row"
    return (f"{source_name(source)} {unit} {number}" for number in range(1, count + 1))


def canonical_jsonl(rows: Iterable[Mapping[str, object]]) -> bytes:
    """The rows as JSON lines with sorted keys, no spaces, ASCII: equal rows, equal bytes."""
    lines = (
        json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def rows_digest(rows: Iterable[Mapping[str, object]]) -> str:
    """sha256 of the rows, whatever file or order of keys they came in."""
    return hashlib.sha256(canonical_jsonl(rows)).hexdigest()


def snapshot_rows(rows: Sequence[Mapping[str, object]], path: Path) -> str:
    """Write rows as canonical JSONL, whole or not at all, and return its sha256."""
    data = canonical_jsonl(rows)
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def _reader(path: str) -> Callable[[Path], Iterator[Row]]:
    if path.endswith((".jsonl", ".jsonl.gz")):
        return _json_lines
    if path.endswith(".csv"):
        return _csv
    if path.endswith(".parquet"):
        return _parquet
    raise BadInput(f"{path}", f"a file ending in {', '.join(ENDINGS)}", "Convert or rename it.")


def _opened(path: Path, reader: Callable[[Path], Iterator[Row]]) -> Iterator[Row]:
    try:
        yield from reader(path)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file", "a file of rows", "Check the path.") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder", "a file of rows", "Name the file in it.") from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BadInput(
            f"{path}: not whole gzip ({error})", "a whole .gz file", "Copy it again."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(f"{path} cannot be read ({reason})", "a file of rows") from None


def _with_ids(rows: list[Row], where: str, unit: str) -> list[Row]:
    seen: dict[str, int] = {}
    result = []
    for number, row in enumerate(rows, start=1):
        given = row.get("id")
        if given is None:
            name = f"row-{number:06d}"
        elif isinstance(given, str | int) and not isinstance(given, bool) and str(given):
            name = str(given)
        else:
            raise _refused(f"{where} {unit} {number}", f"id {given!r}", "text or a whole number")
        if name in seen:
            raise _refused(
                f"{where} {unit} {number}",
                f"id {name!r} was given on {unit} {seen[name]}",
                "an id of its own for every row",
                "Rename them, or leave `id` out of every row.",
            )
        seen[name] = number
        result.append({"id": name, **{key: value for key, value in row.items() if key != "id"}})
    return result


def _refused(place: str, what: str, expected: str, remedy: str = "") -> RowRefused:
    """A row that is refused, by words of its own for who holds the file."""
    return RowRefused(f"{place}: {what}", expected, remedy, f"{place}: expected {expected}")


# JSON lines


def _json_lines(path: Path) -> Iterator[Row]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        blank = 0
        for number, data in enumerate(file, start=1):
            if not data.strip():
                blank = blank or number
                continue
            if blank:
                raise BadInput(
                    f"{path} line {blank} is empty", "one JSON object on every line", "Remove it."
                )
            yield _json_row(data, f"{path} line {number}", whole=data.endswith(b"\n"))


def _json_row(data: bytes, where: str, *, whole: bool) -> Row:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{where}: byte 0x{data[error.start]:02x} at {error.start + 1} is not UTF-8",
            "UTF-8 text",
            "Save it as UTF-8.",
        ) from None
    try:
        row = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite
        )
        text.encode()
        if "\\u" in text:
            json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair has no UTF-8
    except json.JSONDecodeError as error:
        cut = "" if whole else " (the last line is cut off)"
        raise BadInput(
            f"{where}: {error.msg.removesuffix(' at')} at character {error.colno}{cut}",
            "one whole JSON object",
            "Write the file again." if cut else "Correct the line.",
        ) from None
    except UnicodeEncodeError:
        raise BadInput(f"{where}: half a surrogate pair", "text that has a UTF-8 form") from None
    except RecursionError:
        raise BadInput(f"{where}: nested too deeply", "one JSON object") from None
    except ValueError as error:
        raise _refused(where, str(error), "one JSON object", "Correct the line.") from None
    if not isinstance(row, dict):
        raise BadInput(f"{where} holds {_kind(row)}", "one JSON object", "Put it in {...}.")
    return row


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    built = dict(pairs)
    if len(built) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} appears twice")
    return built


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {"list": "a list", "str": "text", "bool": "true or false"}.get(
        type(value).__name__, "a number"
    )


# CSV, Parquet, data sets


def _csv(path: Path) -> Iterator[Row]:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(
            f"{path} line {line}: byte 0x{data[error.start]:02x} is not UTF-8",
            "UTF-8 text",
            "Save it as UTF-8.",
        ) from None
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(lines, [])
        if len(set(header)) < len(header) or not all(header):
            raise _refused(
                f"{path} line 1", f"columns {', '.join(header)}", "a header of different names"
            )
        for fields in lines:
            if not fields:
                continue
            if len(fields) != len(header):
                raise BadInput(
                    f"{path} line {lines.line_num}: {len(fields)} fields",
                    f"{len(header)}, one for each column of the header",
                    "Quote a field that holds a comma or a line break.",
                )
            yield dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise BadInput(f"{path} line {lines.line_num}: {error}", "CSV with a header") from None


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
                for row in batch.to_pylist():
                    yield _plain_row(row, str(path))
    except pyarrow.ArrowInvalid as error:
        raise BadInput(
            f"{path}: {_first_line(error)}", "a Parquet file", "Write it again."
        ) from None
    except UnicodeDecodeError as error:
        raise _not_utf8(str(path), error) from None


def _dataset(source: DataSource) -> Iterator[Row]:
    import datasets

    where = source_name(source)
    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # not a line for every retry
    try:
        data = datasets.load_dataset(
            source.dataset, source.name, split=source.split, revision=source.revision
        )
    except (OSError, ValueError, ImportError, datasets.exceptions.DatasetsError) as error:
        raise BadInput(
            f"dataset {where}: {_first_line(error)}",
            "a data set on the hub or in the cache, with that configuration and split",
            "Check the names and the network.",
        ) from None
    if source.limit is not None:
        data = data.select(range(min(source.limit, len(data))))
    try:
        for row in data:
            yield _plain_row(row, f"dataset {where}")
    except UnicodeDecodeError as error:
        raise _not_utf8(f"dataset {where}", error) from None


def _not_utf8(where: str, error: UnicodeDecodeError) -> BadInput:
    return BadInput(
        f"{where}: a text holds byte 0x{error.object[error.start]:02x}, which is not UTF-8",
        "UTF-8 text",
        "Write it again, or leave the column out.",
    )


def _plain_row(row: Mapping[str, object], where: str) -> Row:
    return {name: _plain(value, f"{where}: column `{name}`") for name, value in row.items()}


def _plain(value: object, where: str) -> object:
    """`value` as JSON has it; NaN, which columns use for "missing", becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, list):
        return [_plain(part, where) for part in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(part, where) for name, part in value.items()}
    raise BadInput(
        f"{where} holds {type(value).__name__}",
        "text, numbers, lists and mappings",
        "Leave the column out.",
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
