"""Files of a store on disk: names, the lock, and what makes a commit survive a crash."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from .._errors import StoreError

MANIFEST = "manifest.json"
UNITS = "units"
TEMPORARY = ".tmp"
LOCK = ".lock"

#: Names that a store gives to its files. Nothing else is ever removed.
OURS = re.compile(r"(?:part|instances|checkpoints|results)-\d{4,}\.arrow(?:\.tmp)?|manifest\.json\.tmp")
UNIT_FOLDER = re.compile(r"\d+-[\w.-]*")


def safe_name(task: str, subtask: str | None) -> str:
    """A folder name that every file system takes; the manifest holds the true one."""
    text = re.sub(r"[^A-Za-z0-9._-]+", "_", task if subtask is None else f"{task}.{subtask}")
    return text[:60].strip("._-") or "unit"


def numbered(stem: str, number: int) -> str:
    """``part-0003.arrow``."""
    return f"{stem}-{number:04d}.arrow"


def not_written(path: Path, error: OSError) -> str:
    """The message where the disk cannot take a file."""
    return (
        f"{path} cannot be written: {error.strerror or error}; the store holds what was committed before, and the same "
        "ingest goes on from there"
    )


def sync_file(path: Path) -> None:
    """Wait until a file is on disk.

    Raises
    ------
    StoreError
        If the disk cannot take it: some file systems find out only now that they are full.
    """
    try:
        with path.open("rb+") as handle:
            os.fsync(handle.fileno())
    except OSError as error:
        raise StoreError(not_written(path, error)) from None


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems cannot; the names then follow with the files
        pass
    finally:
        os.close(handle)


def write_synced(path: Path, content: bytes) -> None:
    """Write a whole file and wait until it is on disk.

    Raises
    ------
    StoreError
        If the disk cannot take it.
    """
    try:
        with path.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise StoreError(not_written(path, error)) from None


def rename(folder: Path, names: list[str]) -> None:
    """Give files their names."""
    for name in names:
        (folder / (name + TEMPORARY)).replace(folder / name)


def publish(folder: Path, names: list[str]) -> None:
    """Give files their names; the folder is on disk afterwards."""
    rename(folder, names)
    sync_folder(folder)


@contextlib.contextmanager
def locked(store: Path) -> Iterator[None]:
    """Hold the store's lock: one writer at a time. The system releases it when the process ends, however it ends.

    Raises
    ------
    StoreError
        If another process holds it.
    """
    with (store / LOCK).open("ab") as handle:
        try:
            import fcntl
        except ImportError:  # no such lock on this system: the caller must not write twice at once
            yield
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(
                f"{store}: another ingest is writing to this store; wait until it has ended"
            ) from None
        yield


def looks_free(folder: Path) -> bool:
    """Whether a folder without a manifest may become a store: empty, or left by an ingest that was killed."""
    for entry in folder.iterdir():
        if entry.name in (LOCK, UNITS) or OURS.fullmatch(entry.name):
            continue
        return False
    units = folder / UNITS
    return not units.exists() or all(_is_ours(unit) for unit in units.iterdir())


def _is_ours(unit: Path) -> bool:
    return bool(UNIT_FOLDER.fullmatch(unit.name)) and all(
        OURS.fullmatch(entry.name) for entry in unit.iterdir()
    )


def remove_leftovers(store: Path, known: set[str]) -> int:
    """Remove files of ours that the manifest does not name: what a killed ingest left. Returns how many."""
    removed = 0
    folders = [store]
    units = store / UNITS
    if units.is_dir():
        for unit in sorted(units.iterdir()):
            if any(name.startswith(f"{UNITS}/{unit.name}/") for name in known):
                folders.append(unit)
            elif _is_ours(unit):
                removed += sum(1 for _ in unit.iterdir())
                shutil.rmtree(unit)
        with contextlib.suppress(OSError):  # it is not empty
            units.rmdir()
    for folder in folders:
        for entry in sorted(folder.iterdir()):
            if OURS.fullmatch(entry.name) and entry.relative_to(store).as_posix() not in known:
                entry.unlink()
                removed += 1
    return removed
