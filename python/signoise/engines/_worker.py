"""What runs on a worker. Importing it brings nothing with it, so that threads can be set before anything has them."""

from __future__ import annotations

import contextlib
import os
import pickle
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: The function of the last task and its number: the tasks of one call share it.
_last: tuple[str, Callable[[Any], Any]] | None = None


class RemoteTraceback(Exception):
    """Where a worker stood when it raised; the cause of the error as it is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Ended:
    """How a task ended, short of its worker's death."""

    state: bytes = b""
    """Pickled: arrays that Ray unpickles cannot be written to, and hold its memory."""
    error: bytes | None = None
    """The pickled exception that the function raised."""
    text: str = ""
    """Its traceback."""
    heard: tuple[tuple[str, type[Warning]], ...] = ()


@dataclass(frozen=True)
class Driver:
    """What workers have to know of the process that they work for."""

    version: str
    polars: str
    folder: str
    """Where relative paths begin."""
    threads: int
    """Of Polars and of our core in a worker, if it has not begun yet."""


def run(number: str, load: Callable[[], bytes], partition: bytes, driver: Driver) -> Ended:
    """Map one partition.

    Parameters
    ----------
    number
        Of the function.
    load
        Gives the pickled function.
    partition
        Pickled.
    driver
        Who asks for it.
    """
    for name in ("POLARS_MAX_THREADS", "RAYON_NUM_THREADS"):
        os.environ.setdefault(name, str(driver.threads))
    with contextlib.suppress(OSError):  # this machine has no such folder, and then no such relative path
        os.chdir(driver.folder)
    global _last  # noqa: PLW0603 (a worker is one process)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            check_versions(driver)
            if _last is None or _last[0] != number:
                _last = number, pickle.loads(load())
            state = pickle.dumps(_last[1](pickle.loads(partition)), protocol=5)
        except Exception as error:
            return Ended(error=_pickled(error), text=traceback.format_exc())
    told = dict.fromkeys((str(one.message), one.category) for one in heard)
    return Ended(state, heard=tuple(told))


def task(number: str, function: list[Any], partition: bytes, driver: Driver) -> Ended:
    """`run` as a task of Ray; the function is a reference, inside a list that Ray leaves alone."""

    def load() -> bytes:
        import ray

        content: bytes = ray.get(function[0])
        return content

    return run(number, load, partition, driver)


def versions() -> tuple[str, str]:
    """Of the package and of Polars."""
    import polars as pl

    from .._options import version

    return version(), pl.__version__


def check_versions(driver: Driver) -> None:
    """Refuse to mix versions, whose states and bits may differ."""
    own = versions()
    if own != (driver.version, driver.polars):
        from .._errors import EngineError

        raise EngineError(
            f"workers have signoise {own[0]} with polars {own[1]}, and this process has {driver.version} with "
            f"{driver.polars}: install the same on every node"
        )


def _pickled(error: Exception) -> bytes:
    try:
        content = pickle.dumps(error)
        pickle.loads(content)
    except Exception:  # what an exception holds may be anything
        from .._errors import EngineError

        return pickle.dumps(EngineError(f"a worker raised {type(error).__name__}: {error}"))
    return content
