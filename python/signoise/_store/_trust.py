"""What a manifest may say. A store may come from anybody, and its manifest names files: places, sizes, types.

A manifest that passes cannot make a reader look outside of the store, or ask for memory that its files do not fill, or
make an ingest write elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import StoreError
from ._files import LOCK, MANIFEST, OURS, UNIT_FOLDER, UNITS

if TYPE_CHECKING:
    from ._manifest import File

#: Bits of a cell.
_BITS = {"bit": 1, "float32": 32, "float64": 64}
_CHECKSUM = re.compile(r"[0-9a-f]{16}")


class _Wrong(Exception):
    """The text says what, and where."""


def check_manifest(found: Any, store: Path) -> None:
    """Look at every entry.

    Raises
    ------
    StoreError
        If something is missing, of another type, out of range, or names a file that is not the store's own.
    """
    try:
        for name in ("checkpoints", "results"):
            for piece in _list(found, name):
                _file(piece, name, "")
        for source in _list(found, "sources"):
            _get(source, "source", _is_text)
            _get(source, "bytes", _is_size)
            _get(source, "xxh3", _is_text)
            _get(source, "selection", _is_text_or_null)
        for unit in _list(found, "units"):
            _unit(unit)
    except _Wrong as wrong:
        raise StoreError(f"{store / MANIFEST} is damaged: {wrong}") from None


def check_size(store: Path, file: File) -> None:
    """Compare a file with what the manifest says of it.

    Raises
    ------
    StoreError
        If it is not there, or of another size.
    """
    path = os.path.join(store, file["file"])
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror or error}") from None
    if size != file["bytes"]:
        raise StoreError(f"{path} is damaged: it has {size} bytes, and the manifest says {file['bytes']}")


def check_links(store: Path) -> None:
    """Refuse links where an ingest would write.

    Raises
    ------
    StoreError
        If the store's lock, its folder of units, or one in it, is a link: it may lead anywhere.
    """
    found = [path for path in (store / LOCK, store / UNITS) if path.is_symlink()]
    if not found and (store / UNITS).is_dir():
        with os.scandir(store / UNITS) as entries:
            found = [Path(entry.path) for entry in entries if entry.is_symlink()]
    if found:
        raise StoreError(f"{found[0]} is a link; nothing is written there, as it may lead out of the store")


def _unit(unit: Any) -> None:
    _get(unit, "task", _is_text)
    for name in ("subtask", "config"):
        _get(unit, name, _is_text_or_null)
    folder = _get(unit, "folder", _is_text)
    above, _, own = folder.partition("/")
    if above != UNITS or not UNIT_FOLDER.fullmatch(own):
        raise _Wrong(f"{folder!r} is no folder of a unit")
    for piece in _list(unit, "instances"):
        _file(piece, "instances", folder + "/")
    width = sum(piece["rows"] for piece in unit["instances"])
    for part in _list(unit, "parts"):
        _part(part, folder + "/", width)


def _file(entry: Any, stem: str, folder: str) -> None:
    file = _get(entry, "file", _is_text)
    name = file.removeprefix(folder)
    if not (
        file.startswith(folder) and OURS.fullmatch(name) and name.startswith(stem) and name.endswith(".arrow")
    ):
        raise _Wrong(f"{file!r} is no file of the store")
    _get(entry, "bytes", _is_size)
    _get(entry, "xxh3", lambda value: _is_text(value) and bool(_CHECKSUM.fullmatch(value)))
    # Files are not compressed: a row takes a byte at least.
    if _get(entry, "rows", _is_size) > entry["bytes"]:
        raise _Wrong(f"{file!r} has {entry['bytes']} bytes, which are too few for {entry['rows']} rows")


def _part(part: Any, folder: str, most: int) -> None:
    _file(part, "part", folder)
    rows, width = part["rows"], _get(part, "width", _is_size)
    if not (rows and 1 <= width <= most):
        raise _Wrong(f"{part['file']!r} has {rows} rows of {width} instances; the unit has {most}")
    _span(part, "checkpoints", part, 4 * rows)
    for slot in _list(part, "slots"):
        _get(slot, "metric", _is_text)
        _get(slot, "filter", _is_text_or_null)
        _get(slot, "repeat", lambda value: value is None or _is_size(value))
        _get(slot, "n", _is_size)
        for name in ("scores", "weights", "not_scored"):
            column = _get(slot, name, lambda value: value is None or isinstance(value, dict))
            if column is not None:
                _column(column, part, rows * width)
            elif name == "scores":
                raise _Wrong(f"a slot of {part['file']!r} has no scores")
    if not part["slots"]:
        raise _Wrong(f"{part['file']!r} has no slots")


def _column(column: Any, part: Any, cells: int) -> None:
    _get(column, "name", _is_text)
    kind = _get(column, "kind", lambda value: _is_text(value) and value in _BITS)
    _span(column, "values", part, -(-_BITS[kind] * cells // 8))
    if _get(column, "validity", lambda value: value is None or isinstance(value, list)) is not None:
        _span(column, "validity", part, -(-cells // 8))


def _span(entry: Any, name: str, part: Any, length: int) -> None:
    span = _get(
        entry, name, lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_size, value))
    )
    if span[1] != length or span[0] + span[1] > part["bytes"]:
        raise _Wrong(
            f"{name!r} of {part['file']!r} lies at {span[0]} and has {span[1]} bytes, not {length} of {part['bytes']}"
        )


def _list(entry: Any, name: str) -> list[Any]:
    return _get(entry, name, lambda value: isinstance(value, list))


def _get(entry: Any, name: str, holds: Callable[[Any], bool]) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        raise _Wrong(f"an entry without {name!r}")
    if not holds(entry[name]):
        raise _Wrong(f"{name!r} cannot be {str(entry[name])[:60]!r}")
    return entry[name]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62
