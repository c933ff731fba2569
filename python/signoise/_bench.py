"""The compiled kernels beside their NumPy twins, on this machine and on the data at hand."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import polars as pl

from . import _core, reference
from ._aggregate import aggregate, roll_up
from ._checkpoints import average_checkpoints
from ._decisions import decision_accuracy
from ._errors import InternalError, OptionError, SignoiseError, SignoiseWarning
from ._options import check_count
from ._report import default_sides, known_directions
from ._scores import Scores, open_scores
from ._simulate import simulate
from ._smoothness import smoothness
from ._snr import noise, signal, snr

Verb = Callable[..., pl.DataFrame]

#: Largest relative difference between a float of the kernels and of the twins; anything else must be equal.
RTOL = 1e-9
#: Differences that are nothing but rounding, where the number itself is zero.
ATOL = 1e-12

_SCHEMA = {
    "what": pl.String,
    "n_rows": pl.Int64,
    "n_groups": pl.Int64,
    "compiled_s": pl.Float64,
    "twin_s": pl.Float64,
    "ratio": pl.Float64,
    "same_answer": pl.Boolean,
    "threads": pl.Int64,
    "profile": pl.String,
}


@dataclass(frozen=True)
class _Job:
    """One call to time: a verb, its twin form, and the rows and options they both get."""

    what: str
    compiled: Verb
    twin: Verb
    frame: pl.DataFrame
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, verb: Verb, threads: int | None) -> pl.DataFrame:
        return verb(self.frame, threads=threads, **self.options)


def bench(source: Scores | None = None, *, repeats: int = 3, threads: int | None = None) -> pl.DataFrame:
    """Time every verb on the compiled kernels and on their NumPy twins, side by side.

    Both answers are computed and compared before anything is timed: floats to a relative 1e-9, everything
    else exactly. Then the two are run in turn, `repeats` times each.

    Parameters
    ----------
    source
        Scores in any form a verb takes; they are read once, before the timing. Default: a simulated suite.
    repeats
        Runs of each, of which the median is taken.
    threads
        As in every verb. The twins run on one.

    Returns
    -------
    DataFrame
        ``what``, ``n_rows`` (in), ``n_groups`` (out), ``compiled_s`` and ``twin_s``
        (median wall seconds), ``ratio`` (the second over the first), ``same_answer``, ``threads`` and build
        ``profile``. A verb that these scores do not allow has a row that says why instead of times.

    Raises
    ------
    OptionError
        With a debug build, whose times mean nothing.
    InternalError
        Where the answers differ: the times would be worth nothing.

    Notes
    -----
    Sorting and labelling rows is the same code on both sides and counts in both times, so a ratio says what a
    user gains, not how much faster a kernel is.

    Examples
    --------
    >>> import signoise as sn
    >>> from signoise._bench import bench
    >>> scores, _ = sn.simulate(tasks=1, recipes=4, checkpoints=4)
    >>> bench(scores, repeats=1)["same_answer"].all()
    True
    """
    check_count("repeats", repeats)
    if threads is not None:
        check_count("threads", threads)
    if _core.BUILD_PROFILE == "debug":
        raise OptionError(
            "the compiled core is a debug build, whose times mean nothing; "
            "build it with `maturin develop --release`"
        )
    frame = _simulated() if source is None else open_scores(source)[0].collect()
    used = threads or _default_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignoiseWarning)
        rows = [
            _timed(job, repeats, threads) if isinstance(job, _Job) else {"what": job, "n_rows": frame.height}
            for job in _jobs(frame)
        ]
    build = {"threads": used, "profile": _core.BUILD_PROFILE}
    return pl.DataFrame([row | build for row in rows], schema=_SCHEMA)


def _simulated() -> pl.DataFrame:
    return simulate(tasks=16, recipes=25, params=(150_000_000, 1_000_000_000), checkpoints=30)[0]


def _default_threads() -> int:
    """Threads that kernels take where no number is given."""
    wanted = os.environ.get("RAYON_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _jobs(frame: pl.DataFrame) -> list[_Job | str]:
    """What to time on these scores, and in words what cannot be."""
    jobs: list[_Job | str] = [
        _Job("snr", snr, reference.snr, frame),
        _Job("signal", signal, reference.signal, frame),
        _Job("noise", noise, reference.noise, frame),
    ]
    known, _ = known_directions(frame, None)
    sides = default_sides(known) if known.height else None
    if sides is None:
        jobs.append(
            "decision_accuracy (not run: needs two sizes that share recipes, or two stages of training, and "
            "a metric with a known direction)"
        )
    else:
        options = {"small": sides.small, "target": sides.target, "match": sides.match, "where": sides.where}
        jobs.append(_Job("decision_accuracy", decision_accuracy, reference.decision_accuracy, known, options))
    return [
        *jobs,
        _Job("smoothness", smoothness, reference.smoothness, frame, {"direction": "raw"}),
        _Job("average_checkpoints", average_checkpoints, reference.average_checkpoints, frame),
        _Job("roll_up", roll_up, reference.roll_up, frame, {"to": "suite"}),
        _Job("aggregate", aggregate, reference.aggregate, frame),
    ]


def _timed(job: _Job, repeats: int, threads: int | None) -> dict[str, Any]:
    """One row of the result: answers first, then times."""
    row: dict[str, Any] = {"what": job.what, "n_rows": job.frame.height}
    try:
        found = job.run(job.compiled, threads)
    except InternalError:
        raise
    except SignoiseError as error:
        return row | {"what": f"{job.what} (not run: {error})"}
    difference = difference_between(found, job.run(job.twin, threads))
    if difference is not None:
        raise InternalError(
            f"{job.what}: the compiled kernels and their twins disagree in {difference}; please report this "
            "with the scores that caused it"
        )
    times: dict[str, list[float]] = {"compiled_s": [], "twin_s": []}
    for _ in range(repeats):
        for name, verb in (("compiled_s", job.compiled), ("twin_s", job.twin)):
            start = time.perf_counter()
            job.run(verb, threads)
            times[name].append(time.perf_counter() - start)
    medians = {name: median(values) for name, values in times.items()}
    ratio = medians["twin_s"] / medians["compiled_s"]
    return row | medians | {"n_groups": found.height, "ratio": ratio, "same_answer": True}


def difference_between(found: pl.DataFrame, expected: pl.DataFrame) -> str | None:
    """Where two results differ, in words; None where they are the same."""
    if found.schema != expected.schema:
        return f"columns: {found.schema} and {expected.schema}"
    if found.height != expected.height:
        return f"the number of rows: {found.height} and {expected.height}"
    for name in found.columns:
        ours, theirs = found[name], expected[name]
        if ours.dtype.is_float():
            close = ((ours - theirs).abs() <= ATOL + RTOL * theirs.abs()) | (ours == theirs)
            same = close.fill_null(value=False) | (ours.is_null() & theirs.is_null())
        else:
            same = ours.eq_missing(theirs)
        if not same.all():
            row = int((~same).arg_max() or 0)
            return f"{name!r}, {(~same).sum()} rows, first in row {row}: {ours[row]!r} and {theirs[row]!r}"
    return None
