"""Many simulated suites in several processes, for studies that count."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def in_processes(
    call: Callable[[Argument], Result], arguments: Iterable[Argument], jobs: int
) -> list[Result]:
    """Results in the order of the arguments; each process has one thread."""
    # Suites are small: threads inside a process would only wait for each other.
    for library in ("POLARS_MAX", "RAYON_NUM", "OPENBLAS_NUM"):
        os.environ[f"{library}_THREADS"] = "1"
    # Polars and the compiled core have threads, which do not live through a fork.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(call, arguments, chunksize=8))
