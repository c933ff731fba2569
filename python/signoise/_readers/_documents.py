"""Whole JSON documents: results files of harnesses, lists of rows."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from . import _zstd

if TYPE_CHECKING:
    from ._files import Found
    from ._report import ReadReport

OTHER_LAYOUT = "JSON file{s} of another layout"
"""How files are ignored that hold sound JSON and nothing known."""

MAX_JSON_BYTES = 256 * 2**20
"""A results file has a few kilobytes. A larger document is something else, and would take all memory."""


_GZIP = b"\x1f\x8b"


def load_document(file: Found, report: ReadReport) -> Any:
    """The document of a file, or None after reporting why not."""
    size = file.path.stat().st_size
    if size > MAX_JSON_BYTES:
        report.skip(file.label, f"{size} bytes are too many for a results file (at most {MAX_JSON_BYTES})")
        return None
    try:
        return load(_decompressed(file.path.read_bytes()))
    except ValueError as error:
        report.skip(file.label, str(error))
        return None


def _decompressed(data: bytes) -> bytes:
    """The bytes themselves, or what was compressed to them.

    Raises
    ------
    ValueError
        Where they are damaged, or more than `MAX_JSON_BYTES`.
    """
    if data.startswith(_GZIP):
        data = _gunzip(data)
    elif data.startswith(_zstd.MAGIC):
        data = _zstd.unpack(data, MAX_JSON_BYTES)
    if not data:
        raise ValueError("the file is empty (0 bytes)")
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"its text is more than {MAX_JSON_BYTES} bytes, too many for a results file")
    return data


def _gunzip(data: bytes) -> bytes:
    """All members one after the other, up to one byte beyond the limit."""
    parts: list[bytes] = []
    size = 0
    try:
        while data and size <= MAX_JSON_BYTES:
            member = zlib.decompressobj(31)
            parts.append(member.decompress(data, MAX_JSON_BYTES + 1 - size))
            size += len(parts[-1])
            if not member.eof:
                if size <= MAX_JSON_BYTES:
                    raise ValueError("the gzip data end too early: the file was cut; copy it again")
                break
            data = member.unused_data
    except zlib.error as error:
        raise ValueError(f"damaged gzip data ({error}); copy the file again") from None
    return b"".join(parts)


def load(text: bytes) -> Any:
    """Parse JSON bytes, with the bare ``NaN`` and ``Infinity`` that the harness writes and a byte-order mark.

    Raises
    ------
    ValueError
        Saying in plain words what is wrong, and where.
    """
    try:
        return json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(error.doc.rstrip()) - 1 or error.msg.startswith("Unterminated"):
            where = f"line {error.lineno}, column {error.colno}"
            raise ValueError(
                f"the JSON ends too early, at {where}: the file was cut; copy or evaluate it again"
            ) from None
        raise ValueError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply to be a results file") from None
