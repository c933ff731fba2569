"""Twin of ``rust/scan/src/json.rs``: wanted fields of the sound rows of JSON Lines files, with the plain json module.

It holds whole files in memory and goes byte by byte: the definition of what a row is, and of what is wrong with one.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .._errors import OptionError

ABSENT, NULL, BOOL, NUMBER, STRING, ARRAY, OBJECT = range(7)
MAX_FIELDS = 1024
MAX_PROBLEMS = 100

_BLANK = b" \t\r\n"
_ODD = re.compile("nan|inf", re.IGNORECASE | re.ASCII)
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_CUT = "the line ends too early: the file was cut"
_CUT_ARRAY = "the array ends too early: the file was cut"
_NOT_AN_OBJECT = "not a JSON object: each row must be one, {...}"
_NOT_AN_ARRAY = "an array of objects has something else here: the rest of the file was not read"
_AFTER_ARRAY = "something follows the end of the array: it was not read"
_DAMAGED = "the compressed data are damaged or cut: rows up to there were kept"


class _Whole(float):
    """A whole number, with its digits."""

    digits: str

    def __new__(cls, digits: str) -> _Whole:
        self = super().__new__(cls, digits)
        self.digits = digits
        return self


_DECODER = json.JSONDecoder(parse_int=_Whole)


def read_json_lines(
    paths: Sequence[str | os.PathLike[str]],
    *,
    skip: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
    odd: Sequence[str] | None = None,
    max_line_bytes: int = 67108864,
    max_depth: int = 512,
    stop: Callable[[], bool] | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Wanted fields of all sound rows, and what is wrong with the others.

    A file holds an object a line, or one array of objects; blank lines do not count. A row is sound if it is UTF-8
    and JSON (``NaN``, ``Infinity``, ``-Infinity`` are numbers), no longer than ``max_line_bytes`` and nested no
    deeper than ``max_depth``. Of a key that occurs twice the last value counts. Of fields named in ``odd`` only texts
    are kept that hold ``nan`` or ``inf`` (in any case); elsewhere the field is absent.

    Returns
    -------
    dict
        ``file``, ``line`` (from 1): where each row is. ``fields``: name to ``kind`` (0 absent, 1 null, 2 bool, 3
        number, 4 string, 5 array, 6 object), ``number`` (NaN where there is none; None if no row has any), ``text``
        (strings; arrays and objects as they stand in the file; whole numbers beyond 2**53 by their digits; None where
        a row has none), of rows with the same one after the other once, and ``place``, which of them each row has
        (both None if no row has any).
        ``problems``: the first 100 as (file, line, reason, excerpt), line 0 for the rest of a file; ``n_problems``.
    """
    del threads, stop
    if not 1 <= max_line_bytes <= 1 << 31:
        raise OptionError(f"max_line_bytes must be from 1 to 2147483648, got {max_line_bytes}")
    if not 1 <= max_depth <= 1 << 20:
        raise OptionError(f"max_depth must be from 1 to 1048576, got {max_depth}")
    rows: list[tuple[int, int, dict[str, tuple[int, float, str | None]]]] = []
    problems: list[tuple[int, int, str, str]] = []
    for file, path in enumerate(paths):
        names: dict[str, None] = {}
        data, failure = _text(path)
        for line, row, reason in _rows(data, failure is None, max_line_bytes):
            found = reason if reason is not None else _values(row, max_depth)
            if isinstance(found, dict):
                found = {
                    k: v for k, v in found.items() if k not in (skip or ()) and (only is None or k in only)
                }
                for name in found.keys() & set(odd or ()):
                    _, _, text = found[name]
                    if text is None or found[name][0] < STRING or not _ODD.search(text):
                        found[name] = (ABSENT, math.nan, None)
                if len(names | dict.fromkeys(found)) > MAX_FIELDS:
                    found = (
                        f"more than {MAX_FIELDS} different fields in one file: name those to keep with only"
                    )
            if isinstance(found, str):
                excerpt = row.strip(_BLANK).decode("utf-8", "replace")[:60]
                problems.append((file, line, found, excerpt))
            else:
                names |= dict.fromkeys(found)
                rows.append((file, line, found))
        if failure is not None:
            problems.append((file, 0, failure, ""))

    fields: dict[str, Any] = {}
    for name in dict.fromkeys(name for _, _, row in rows for name in row):
        values = [row.get(name, (ABSENT, math.nan, None)) for _, _, row in rows]
        kinds = np.array([kind for kind, _, _ in values], dtype=np.uint8)
        numbers = np.array([number for _, number, _ in values], dtype=np.float64)
        texts = [text for _, _, text in values]
        changes = [at == 0 or text != texts[at - 1] for at, text in enumerate(texts)]
        some = any(text is not None for text in texts)
        fields[name] = {
            "kind": kinds,
            "number": numbers if np.isin(kinds, (BOOL, NUMBER)).any() else None,
            "text": [text for text, new in zip(texts, changes, strict=True) if new] if some else None,
            "place": np.cumsum(changes, dtype=np.uint32) - np.uint32(1) if some else None,
        }
    return {
        "file": np.array([file for file, _, _ in rows], dtype=np.uint32),
        "line": np.array([line for _, line, _ in rows], dtype=np.uint32),
        "fields": fields,
        "problems": problems[:MAX_PROBLEMS],
        "n_problems": len(problems),
    }


def _text(path: str | os.PathLike[str]) -> tuple[bytes, str | None]:
    """The unpacked bytes of a file, and what is wrong with what follows them."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        return b"", f"the file cannot be read: {error.strerror}"
    failure = None
    if data.startswith(b"\x1f\x8b"):
        data, failure = _gunzip(data)
    elif data.startswith(b"\x28\xb5\x2f\xfd"):
        try:  # Python 3.14; the twin of an older one needs the package zstandard
            data = importlib.import_module("compression.zstd").decompress(data)
        except ImportError:
            data = importlib.import_module("zstandard").ZstdDecompressor().stream_reader(data).readall()
    return data.removeprefix(b"\xef\xbb\xbf"), failure


def _gunzip(data: bytes) -> tuple[bytes, str | None]:
    out = b""
    while data:
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            out += member.decompress(data)
        except zlib.error:
            return out, _DAMAGED
        if not member.eof:
            return out, _DAMAGED
        data = member.unused_data
    return out, None


def _rows(data: bytes, whole: bool, longest: int) -> Iterator[tuple[int, bytes, str | None]]:
    """Line, bytes and problem of each row; what has no end in a file that is not whole is no row."""
    start = len(data) - len(data.lstrip(_BLANK))
    line = 1 + data.count(b"\n", 0, start)
    if data[start : start + 1] == b"[":
        yield from _items(data, start + 1, line, whole, longest)
        return
    too_long = f"longer than {longest} bytes: raise max_line_bytes if the row is right"
    *lines, last = data[start:].split(b"\n")
    for number, row in enumerate(lines + [last] * whole, line):
        if len(row) > longest:
            yield number, row, too_long
        elif row.strip(_BLANK):
            yield number, row.strip(_BLANK), None


def _items(
    data: bytes, at: int, line: int, whole: bool, longest: int
) -> Iterator[tuple[int, bytes, str | None]]:
    too_long = f"longer than {longest} bytes: raise max_line_bytes if the row is right"

    def blanks(at: int) -> int:
        return len(data) - len(data[at:].lstrip(_BLANK))

    first = True
    while True:
        line, at = line + data.count(b"\n", at, blanks(at)), blanks(at)
        if first and data[at : at + 1] == b"]":
            break
        if data[at : at + 1] != b"{":
            if at < len(data) or whole:
                yield line, data[at:], _NOT_AN_ARRAY if at < len(data) else _CUT_ARRAY
            return
        first = False
        end = _object_end(data, at)
        if end is None:
            if whole:
                yield line, data[at:], _CUT_ARRAY
            return
        yield line, data[at:end], too_long if end - at > longest else None
        line += data.count(b"\n", at, blanks(end))
        at = blanks(end)
        if data[at : at + 1] == b"]":
            break
        if data[at : at + 1] != b",":
            if at < len(data) or whole:
                yield line, data[at:], _NOT_AN_ARRAY if at < len(data) else _CUT_ARRAY
            return
        at += 1
    if data[at + 1 :].strip(_BLANK):
        rest = blanks(at + 1)
        yield line + data.count(b"\n", at, rest), data[rest:], _AFTER_ARRAY


def _depths(text: bytes, at: int = 0) -> Iterator[tuple[int, int, bool]]:
    """After each byte: the next position, how many brackets outside strings are open, whether a string is."""
    depth, in_string, escaped = 0, False, False
    for position in range(at, len(text)):
        byte = text[position : position + 1]
        if escaped:
            escaped = False
        elif in_string:
            in_string, escaped = byte != b'"', byte == b"\\"
        elif byte == b'"':
            in_string = True
        elif byte in b"{[":
            depth += 1
        elif byte in b"}]":
            depth = max(depth - 1, 0)
        yield position + 1, depth, in_string


def _object_end(data: bytes, at: int) -> int | None:
    return next((end for end, depth, in_string in _depths(data, at) if depth == 0 and not in_string), None)


def _values(row: bytes, max_depth: int) -> dict[str, tuple[int, float, str | None]] | str:
    """Kind, number and text of each top-level field; or what is wrong."""
    try:
        text = row.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return _CUT
        return f"not UTF-8 (byte {error.start + 1} of the row): convert the file"
    if not text.startswith("{"):
        return _NOT_AN_OBJECT
    depths = list(_depths(row))
    if max(depth for _, depth, _ in depths) > max_depth:
        return f"nested deeper than {max_depth} levels: raise max_depth if that is right"
    try:
        return _object(text)
    except ValueError:
        _, depth, in_string = depths[-1]
        return _CUT if depth or in_string else "not valid JSON"


def _object(text: str) -> dict[str, tuple[int, float, str | None]]:
    """The fields of an object; `json` gives no positions, so the outermost level is read here."""

    def blanks(at: int) -> int:
        return len(text) - len(text[at:].lstrip(" \t\r\n"))

    def expect(at: int, byte: str) -> int:
        if text[at : at + 1] != byte:
            raise ValueError(f"{byte} expected at {at}")
        return blanks(at + 1)

    values: dict[str, tuple[int, float, str | None]] = {}
    at = expect(0, "{")
    while text[at : at + 1] != "}" or values:
        if text[at : at + 1] != '"':
            raise ValueError(f"a key expected at {at}")
        key, at = _DECODER.raw_decode(text, at)
        at = expect(blanks(at), ":")
        value, end = _DECODER.raw_decode(text, at)
        values[_HALF_PAIR.sub("\ufffd", key)] = _typed(value, text[at:end])
        at = blanks(end)
        if text[at : at + 1] == "}":
            break
        at = expect(at, ",")
    if blanks(at + 1) != len(text):
        raise ValueError(f"the object ended at {at}")
    return values


def _typed(value: Any, raw: str) -> tuple[int, float, str | None]:
    match value:
        case None:
            return NULL, math.nan, None
        case bool():
            return BOOL, float(value), None
        case _Whole():
            return NUMBER, float(value), value.digits if abs(value) >= 2**53 else None
        case float():
            return NUMBER, value, None
        case str():
            return STRING, math.nan, _HALF_PAIR.sub("\ufffd", value)
        case list():
            return ARRAY, math.nan, raw
        case _:
            return OBJECT, math.nan, raw
