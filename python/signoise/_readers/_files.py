"""Which files a source names, and what each of them is: by content, by name where content cannot tell."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .._errors import ReadError
from . import _zstd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Source = str | os.PathLike[str]

Kind = Literal["json", "parquet", "ipc", "ipc_stream", "csv", "tsv", "ndjson", "empty", "other"]

_HEAD = 1 << 16
_GZIP, _ZSTD = b"\x1f\x8b", _zstd.MAGIC
_HIDDEN = re.compile(r"^(?:\.|__pycache__$|__MACOSX$)")
_DELIMITED = {".csv": "csv", ".tsv": "tsv"}
_LINES = (".jsonl", ".ndjson")
COMPRESSED = (".gz", ".zst", ".zstd")

INSTANCE_ROWS = "instance dump{s} of an unknown layout"
"""How files are ignored whose rows are scored items of nobody known."""


@dataclass(frozen=True)
class Found:
    """A file to read: where it is, and what it is called in ``source`` columns and messages."""

    file: str | os.PathLike[str]
    label: str
    explicit: bool
    """Whether the user named this very file, so that failing to read it is an error."""

    @cached_property
    def path(self) -> Path:
        """Where it is; made when asked for, as of files by the thousand only names are needed."""
        return Path(self.file)

    @cached_property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(self.file)


def find(source: Source | Sequence[Source]) -> list[Found]:
    """Every file of the source, once, in path order.

    Raises
    ------
    ReadError
        If a path does not exist or a glob matches nothing.
    """
    given = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    if not given:
        raise ReadError("the list of sources is empty; give a file, a directory or a glob")
    found: list[tuple[str, str, str, bool]] = []  # path, the same without links, base, explicit
    folders: dict[str, str] = {}
    for entry in given:
        text = os.fspath(entry)
        if not isinstance(text, str):
            raise ReadError(f"source {text!r} is not a path; give a file, a directory or a glob")
        path = os.path.expanduser(text)
        if os.path.isdir(path):
            found += [(file, real, path, False) for file, real in _walk(path)]
        elif os.path.exists(path):
            found.append((path, _real(path, folders), os.path.dirname(path), True))
        elif glob.has_magic(text):
            matches = sorted(glob.glob(path, recursive=True))
            if not matches:
                raise ReadError(f"{text}: no file matches this glob")
            base = str(_base_of_glob(Path(path)))
            for match in matches:
                files = _walk(match) if os.path.isdir(match) else [(match, _real(match, folders))]
                found += [(file, real, base, False) for file, real in files]
        else:
            raise ReadError(f"{text}: no such file or directory")
    if len(given) > 1:
        # Labels must tell the entries apart, so they start where the entries part.
        bases = [os.path.abspath(base) for base in {base for _, _, base, _ in found}] or ["."]
        try:
            common = os.path.commonpath(bases)
        except ValueError:  # different drives
            common = None
        if common is not None:
            found = [(os.path.abspath(path), real, common, explicit) for path, real, _, explicit in found]
    seen: set[str] = set()
    unique: list[Found] = []
    for path, real, base, explicit in found:
        if real not in seen:
            seen.add(real)
            unique.append(Found(path, clean(_relative(path, base)), explicit))
    return unique


def _real(path: str, folders: dict[str, str]) -> str:
    """The path without links; folders are looked at once."""
    folder, name = os.path.split(path)
    if os.path.islink(path):
        return os.path.realpath(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return f"{folders[folder]}{os.sep}{name}"


def _walk(root: str) -> list[tuple[str, str]]:
    """Files below a directory in path order without hidden ones, each as found and without links.

    No folder is entered twice.
    """
    files: list[tuple[str, str]] = []
    seen: set[str] = set()
    folders = [root]
    while folders:
        folder = folders.pop()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        found: list[str] = []
        if _is_store(folder):
            # A score store is no dump; its manifest stands for it, so that it is told of.
            files.append((os.path.join(folder, _MANIFEST), os.path.join(real, _MANIFEST)))
            continue
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _HIDDEN.match(entry.name):
                        continue
                    if entry.is_dir():
                        found.append(entry.path)
                    elif entry.is_file():
                        link = entry.is_symlink()
                        own = os.path.realpath(entry.path) if link else f"{real}{os.sep}{entry.name}"
                        files.append((entry.path, own))
        except OSError:  # a folder that may not be entered, as `os.walk` has it
            continue
        folders += sorted(found, reverse=True)
    return sorted(files, key=lambda file: file[0].split(os.sep))


_MANIFEST, _STORE = "manifest.json", b'"signoise score store"'


def _is_store(folder: str) -> bool:
    try:
        with open(os.path.join(folder, _MANIFEST), "rb") as handle:
            return _STORE in handle.read(200)
    except OSError:
        return False


def _base_of_glob(path: Path) -> Path:
    parts = []
    for part in path.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts) if parts else Path()


def _relative(path: str, base: str) -> str:
    if base in ("", os.curdir):
        relative = os.path.basename(path) if os.path.isabs(path) else os.path.normpath(path)
    else:
        base = base.rstrip(os.sep)
        relative = path[len(base) :] if path.startswith(base + os.sep) else os.path.basename(path)
        relative = relative.lstrip(os.sep)
    return relative.replace(os.sep, "/")


def clean(text: str) -> str:
    """Text that any column can hold: lone surrogates (odd file names, JSON escapes) are escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def head_of(file: Found, size: int = _HEAD, *, decompress_zstd: bool = False) -> bytes:
    """The first bytes of a file, decompressed; of a damaged or (by default) a Zstandard file those on disk."""
    descriptor = os.open(file.file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        head = os.read(descriptor, size)
    finally:
        os.close(descriptor)
    if head.startswith(_GZIP):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(31).decompress(head, _HEAD)
    elif decompress_zstd and head.startswith(_ZSTD):
        # A first block may have twice the bytes of a head.
        with open(file.path, "rb", buffering=0) as handle:
            return _zstd.start(handle.read(3 * _HEAD))[:_HEAD] or head
    return head


def is_packed(head: bytes) -> bool:
    """Whether these bytes are compressed."""
    return head.startswith((_GZIP, _ZSTD))


def is_packed_by_name(name: str) -> bool:
    """Whether a file of this name should be compressed."""
    return name.lower().endswith(COMPRESSED)


def kind_of(file: Found, head: bytes) -> tuple[Kind, str]:
    """What a file is by its first bytes, and for ``other`` and ``empty`` the reason why it is not read."""
    name = file.name
    if not head:
        return "empty", "the file is empty (0 bytes)"
    if name == _MANIFEST and _STORE in head[:200]:
        return "other", "score store{s}, to be given by their own path"
    if head.startswith(b"PAR1"):
        return "parquet", ""
    if head.startswith(b"ARROW1"):
        return "ipc", ""
    if head.startswith(b"\xff\xff\xff\xff"):
        return "ipc_stream", ""
    if head.startswith(_GZIP):
        return "other", "damaged gzip file{s}"
    if head.startswith(_ZSTD):
        return _by_extension(name) or ("other", "compressed file{s} of unknown content")
    return _kind_of_text(name, head, explicit=file.explicit)


def inner_extension(name: str) -> str:
    """The extension in lower case without that of the compression: ``.csv`` for ``a.csv.gz``."""
    for compression in COMPRESSED:
        if name.lower().endswith(compression):
            name = name[: -len(compression)]
    return os.path.splitext(name)[1].lower()


def _by_extension(name: str) -> tuple[Kind, str] | None:
    extension = inner_extension(name)
    if extension in _LINES:
        return "ndjson", ""
    if extension == ".csv":
        return "csv", ""
    if extension == ".tsv":
        return "tsv", ""
    if extension == ".json":
        return "json", ""
    return None


def _kind_of_text(name: str, head: bytes, *, explicit: bool) -> tuple[Kind, str]:
    extension = inner_extension(name)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "other", "text file{s} in UTF-16 instead of UTF-8"
    body = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if body.startswith(b"{"):
        return _kind_of_objects(extension, body)
    if body.startswith(b"["):
        return "json", ""
    if not body:
        return "empty", "the file holds nothing but white space"
    if extension in _LINES:
        return "ndjson", ""
    if extension == ".json":
        return "json", ""
    if extension in _DELIMITED:
        return ("csv", "") if extension == ".csv" else ("tsv", "")
    if explicit and b"\0" not in head:
        first = body.splitlines()[0]
        if first.count(b"\t") >= 2:
            return "tsv", ""
        if first.count(b",") >= 2:
            return "csv", ""
    return "other", f"{extension or 'other'} file{{s}}"


def _kind_of_objects(extension: str, body: bytes) -> tuple[Kind, str]:
    """One JSON document or one object per line."""
    lines = body.split(b"\n", 2)
    row = _object(lines[0])
    if row is None:
        whole_line = len(lines) > 1
        return ("json" if whole_line or extension == ".json" else "ndjson"), ""
    if is_instance_row(row):
        return "other", INSTANCE_ROWS
    several = len(lines) > 1 and lines[1].lstrip().startswith(b"{")
    return ("ndjson" if several or extension in _LINES else "json"), ""


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def is_instance_row(row: dict[str, Any]) -> bool:
    """Whether a JSON object is one scored item of a harness' own log."""
    return "doc_id" in row and bool({"resps", "filtered_resps", "native_id", "model_output"} & row.keys())


def reasons(files: Iterable[tuple[str, str]], limit: int = 5) -> str:
    """First few ``file: reason`` for an error message."""
    listed = [f"{file}: {reason}" for file, reason in files]
    return "; ".join(listed[:limit]) + ("; ..." if len(listed) > limit else "")
