"""Wall and CPU time of interleaved runs, and the facts that a time means nothing without."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


PAUSE = 0.1
"""Seconds before each timed job: the threads of a BLAS product spin for some 30 ms after it, on a core and a clock that
are then another job's."""


@dataclass(frozen=True)
class Times:
    """Medians over repeats, in seconds."""

    wall: float
    cpu: float


def interleaved(jobs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, Times]:
    """Run the jobs in turn, `repeats` times each, so that a slow moment of the machine meets all of them."""
    wall: dict[str, list[float]] = {name: [] for name in jobs}
    cpu: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            time.sleep(PAUSE)
            start_wall, start_cpu = time.perf_counter(), time.process_time()
            job()
            wall[name].append(time.perf_counter() - start_wall)
            cpu[name].append(time.process_time() - start_cpu)
    return {name: Times(median(wall[name]), median(cpu[name])) for name in jobs}


def setting(repeats: int) -> str:
    """One line: versions, build profile, threads, load, repeats."""
    import numpy as np
    import polars as pl

    from signoise import _core

    if _core.BUILD_PROFILE != "release":
        raise SystemExit(
            f"signoise is a {_core.BUILD_PROFILE} build; build it with `maturin develop --release`"
        )
    threads = os.environ.get("RAYON_NUM_THREADS") or len(os.sched_getaffinity(0))
    return (
        f"signoise {_core.__version__} ({_core.BUILD_PROFILE} build), {threads} threads, "
        f"Polars {pl.__version__} with {pl.thread_pool_size()}, NumPy {np.__version__}; "
        f"medians of {repeats}; load average {os.getloadavg()[0]:.1f} at the start"
    )


def markdown(rows: list[dict[str, str]]) -> str:
    """Rows as a Markdown table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
