"""The manifest: what a store holds, file by file. A reader sees what it names and nothing else.

It is replaced as a whole, so that a store is always one commit or the next; files that it names never change.
docs/store.md describes it for readers without signoise.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any, TypedDict, cast

from .._errors import StoreError
from ._files import MANIFEST, TEMPORARY, sync_folder, write_synced
from ._trust import check_manifest

FORMAT = "signoise score store"
VERSION = 1

Span = tuple[int, int]
"""First byte and number of bytes in a file."""


class File(TypedDict):
    """A file and how to tell whether it is whole: size and XXH3 (64 bits, seed 0, hexadecimal)."""

    file: str
    bytes: int
    xxh3: str


class Piece(File):
    """Some rows of a table that grows: the table is its pieces in order."""

    rows: int


class Column(TypedDict):
    """A matrix in a part. ``validity`` is null where every cell is there."""

    name: str
    kind: str
    values: Span
    validity: Span | None


class Slot(TypedDict):
    """Scores of one metric, filter and repeat in a part.

    ``n`` counts the cells with a score. ``not_scored`` marks instances that were there without one (null, not NaN); a
    cell with neither was not in the source.
    """

    metric: str
    filter: str | None
    repeat: int | None
    scores: Column
    n: int
    weights: Column | None
    not_scored: Column | None


class Part(File):
    """Scores of some checkpoints on the first ``width`` instances of a unit."""

    rows: int
    width: int
    checkpoints: Span
    slots: list[Slot]


class Unit(TypedDict):
    """What shares a list of instances."""

    task: str
    subtask: str | None
    config: str | None
    folder: str
    instances: list[Piece]
    parts: list[Part]


class SourceFile(TypedDict):
    """A file that was ingested: its label, size, XXH3 (of the footer, if Parquet), and which rows were taken."""

    source: str
    bytes: int
    xxh3: str
    selection: str | None


class Manifest(TypedDict):
    """Everything."""

    format: str
    version: int
    checkpoints: list[Piece]
    results: list[Piece]
    sources: list[SourceFile]
    units: list[Unit]


def empty() -> Manifest:
    """A store without scores."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "checkpoints": [],
        "results": [],
        "sources": [],
        "units": [],
    }


def load(store: Path) -> Manifest:
    """Read the manifest of a store.

    Raises
    ------
    StoreError
        If there is none, if it is damaged, or written by a newer version.
    """
    try:
        content = (store / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{store}: no score store (it has no {MANIFEST}); make one with ingest") from None
    body, _, seal = content.rstrip().rpartition(b",\n")
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{store / MANIFEST} is damaged: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise StoreError(f"{store}: {MANIFEST} is not that of a score store")
    if not isinstance(version := found.get("version"), int) or version > VERSION:
        raise StoreError(
            f"{store}: this store has format version {version}, and this signoise reads up to {VERSION}; "
            "install a newer signoise"
        )
    if seal != _seal(body):
        raise StoreError(f"{store / MANIFEST} is damaged: its checksum does not fit its content")
    check_manifest(found, store)
    del found["crc32"]
    return cast("Manifest", found)


def save(store: Path, manifest: Manifest) -> None:
    """Replace the manifest: the moment at which a commit becomes visible."""
    path = store / MANIFEST
    aside = store / (MANIFEST + TEMPORARY)
    write_synced(aside, dumped(manifest))
    os.replace(aside, path)
    sync_folder(store)


def dumped(manifest: Manifest) -> bytes:
    """JSON with one line an entry, and a CRC-32 of all lines before the last one."""
    lines: list[str] = []
    for name, value in manifest.items():
        if isinstance(value, list):
            entries = ",\n".join(f"  {json.dumps(entry)}" for entry in value)
            lines.append(f'"{name}": [\n{entries}\n]' if entries else f'"{name}": []')
        else:
            lines.append(f'"{name}": {json.dumps(value)}')
    body = ("{\n" + ",\n".join(lines)).encode()
    return body + b",\n" + _seal(body) + b"\n"


def _seal(body: bytes) -> bytes:
    return f'"crc32": "{zlib.crc32(body):08x}"\n}}'.encode()


def files_of(manifest: Manifest) -> list[File]:
    """Every file the manifest names, with its path below the store."""
    files: list[File] = [*manifest["checkpoints"], *manifest["results"]]
    for unit in manifest["units"]:
        files += [*unit["instances"], *unit["parts"]]
    return files


def is_store(path: Any) -> bool:
    """Whether a path is a directory with a manifest of ours."""
    if not isinstance(path, (str, os.PathLike)):
        return False
    try:
        with (Path(path) / MANIFEST).open("rb") as handle:
            return FORMAT.encode() in handle.read(200)
    except (OSError, ValueError):
        return False
