"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

#: How compiled code tells an error of the system: its number is in the text alone.
_NUMBER = re.compile(r"\(os error (\d+)\)")


def system_error(error: BaseException, path: str | os.PathLike[str] | None = None) -> OSError | None:
    """An error of the system (a full disk, no permission) with its number and the file; None if it is another kind."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := _NUMBER.search(str(error))):
        number = int(found.group(1))
    if number is None:
        return None
    return OSError(number, os.strerror(number), None if path is None else os.fspath(path))


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the system while a file is written tell its name."""
    try:
        yield
    except Exception as error:
        known = system_error(error, path)
        if known is None:
            raise
        raise known from error


def write_whole(path: str | os.PathLike[str], writer: Callable[[IO[bytes]], object]) -> None:
    """Let `writer` fill a file beside `path`, which then takes its place; a link is followed to the file it names."""
    target = Path(os.path.realpath(path))
    with writing(path):
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=".part", dir=target.parent)
    try:
        with writing(path), os.fdopen(handle, "wb") as file:
            writer(file)
        if target.exists():
            shutil.copymode(target, name)
        else:
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
