"""Rows out of files: JSON lines, JSON arrays, CSV, parquet; each row with the place it came from.

Design: one generator, `read_rows`, that yields a `Row` or, where a single row is broken and the rest is not, the
`DataError` that describes it, so that the caller decides between stopping and counting. What breaks the whole file
(missing, not UTF-8, damaged archive, a cut-off array) is raised. JSON lines and parquet are streamed; a JSON array is
held once as text and decoded one element at a time. Two readers serve files that are not what their name says:
`read_lines` (JSON lines in a `.json` file) and `read_under` (an object that holds its rows under a key).
Not covered: remote paths, CSV without a line of column names.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import importlib
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import msgspec

from ponder.errors import DataError

SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".json", ".json.gz", ".csv", ".csv.gz", ".parquet")
LONGEST_CELL = 1 << 24
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Row:
    """One record and where it stands: `path:line`, or `path:row` for parquet (counted from 1)."""

    where: str
    data: Mapping[str, Any]


def read_rows(path: str | Path) -> Iterator[Row | DataError]:
    """Every row of a file in its order; a broken row comes as the `DataError` that names its line."""
    file = _existing(Path(path).expanduser())
    name = file.name.lower()
    if name.endswith(".parquet"):
        yield from _parquet(file)
    elif name.endswith((".json", ".json.gz")):
        yield from _array(file)
    elif name.endswith((".csv", ".csv.gz")):
        yield from _table(file)
    else:
        yield from _lines(file)


def read_lines(path: str | Path) -> Iterator[Row | DataError]:
    """As `read_rows`, where a `.json` file holds one object per line."""
    file = _existing(Path(path).expanduser())
    yield from _lines(file) if file.name.lower().endswith((".json", ".json.gz")) else read_rows(file)


def read_under(key: str, path: str | Path) -> Iterator[Row | DataError]:
    """As `read_rows`, where a `.json` file is one object that holds its rows in the array `key`."""
    file = _existing(Path(path).expanduser())
    yield from _array(file, key) if file.name.lower().endswith((".json", ".json.gz")) else read_rows(file)


def _existing(file: Path) -> Path:
    if not file.name.lower().endswith(SUFFIXES):
        raise DataError(f"{file}: unknown kind of file; use one of {', '.join(SUFFIXES)}")
    if file.is_dir():
        raise DataError(f"{file}: is a folder, not a file")
    if not file.exists():
        siblings = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
        near = difflib.get_close_matches(file.name, siblings, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else "check the path"
        raise DataError(f"{file}: no such file; {hint}")
    return file


def _open(file: Path) -> IO[bytes]:
    try:
        return cast(IO[bytes], gzip.open(file, "rb")) if file.name.lower().endswith(".gz") else file.open("rb")
    except OSError as error:
        raise DataError(f"{file}: can not be read ({error.strerror or error})") from None


def _lines(file: Path) -> Iterator[Row | DataError]:
    number = 0
    try:
        with _open(file) as stream:
            for number, line in enumerate(stream, 1):
                body = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if body.strip():
                    yield _line(f"{file}:{number}", body)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}:{number + 1}: damaged file, can not be read further ({error})") from None


def _line(where: str, body: bytes) -> Row | DataError:
    try:
        value = msgspec.json.decode(body)
    except UnicodeDecodeError as error:
        return DataError(f"{where}: not UTF-8 ({error.reason}); save the file as UTF-8")
    except msgspec.MsgspecError as error:
        return DataError(f"{where}: not valid JSON ({_plain(error)})")
    except RecursionError:
        return DataError(f"{where}: nested too deeply")
    return _row(where, value)


def _plain(error: Exception) -> str:
    return str(error).removeprefix("JSON is malformed: ")


def _row(where: str, value: Any) -> Row | DataError:
    if isinstance(value, dict):
        return Row(where, cast(dict[str, Any], value))
    hint = "; a JSON array belongs in a file named .json" if isinstance(value, list) else ""
    return DataError(f"{where}: expected an object with named columns, found {kind(value)}{hint}")


def kind(value: Any) -> str:
    """What a JSON value is, in words for a message."""
    names = {bool: "a boolean", str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "nothing (null)" if value is None else names.get(type(value), f"a value of type {type(value).__name__}")


def _text(file: Path) -> str:
    try:
        with _open(file) as stream:
            return stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: damaged file, can not be read ({error})") from None


def _array(file: Path, key: str = "") -> Iterator[Row | DataError]:
    text = _text(file)
    position = _skip(text, 0)
    if position == len(text):
        return
    wrapped = bool(key) and text[position] == "{"
    if wrapped:
        found = re.search(rf'"{re.escape(key)}"[ \t\r\n]*:[ \t\r\n]*\[', text)
        if found is None:
            raise DataError(f"{file}:1: expected an object with its rows in the array '{key}'")
        position = found.end() - 1
    if text[position] != "[":
        raise DataError(f"{file}:1: expected an array of objects; one object per line belongs in a file named .jsonl")
    yield from _elements(file, text, position + 1, wrapped)


def _elements(file: Path, text: str, start: int, numbered: bool = False) -> Iterator[Row | DataError]:
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    line, counted, position, number = 1, 0, _skip(text, start), 0
    while text[position : position + 1] != "]":
        line, counted, number = line + text.count("\n", counted, position), position, number + 1
        where = f"{file}:{line}" + (f" (row {number})" if numbered else "")
        try:
            value, position = decoder.raw_decode(text, position)
        except RecursionError:
            raise DataError(f"{where}: nested too deeply") from None
        except ValueError as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise DataError(f"{where}: not valid JSON ({reason})") from None
        yield _row(where, value)
        position = _skip(text, position)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
        elif text[position : position + 1] != "]":
            raise DataError(f"{where}: not valid JSON (the array ends here, ',' or ']' is missing)")


def _table(file: Path) -> Iterator[Row | DataError]:
    """Comma-separated values under a line of column names; a row stands at the line where it ends."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.DictReader(io.StringIO(_text(file), newline=""), strict=True)
    while True:
        try:
            value = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{file}:{reader.line_num + 1}: not valid CSV ({error})") from None
        if value is None:
            return
        cells = cast("dict[str | None, Any]", value)
        if None in cells or None in cells.values():
            have = sum(v is not None for k, v in cells.items() if k is not None) + len(cells.get(None) or ())
            yield DataError(f"{file}:{reader.line_num}: {have} cells under {len(reader.fieldnames or ())} column names")
            continue
        yield Row(f"{file}:{reader.line_num}", value)


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _parquet(file: Path) -> Iterator[Row | DataError]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
        errors: Any = importlib.import_module("pyarrow.lib").ArrowException
    except ImportError:
        raise DataError(f"{file}: reading parquet needs pyarrow; pip install 'ponder[parquet]'") from None
    number = 0
    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=1024):
                for value in cast(list[dict[str, Any]], batch.to_pylist()):
                    number += 1
                    yield Row(f"{file}:row {number}", value)
    except (OSError, errors) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file}: not a readable parquet file ({first})") from None
