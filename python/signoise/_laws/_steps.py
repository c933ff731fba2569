"""The points of a ladder's steps, and their fits for all tasks at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import group_addresses
from ._chain import Chain, Pool, chain_of
from ._fit import Fit, fit_groups, settings_of
from ._law import Floats, Law
from ._points import Points
from ._rungs import Curve, Run, Task

#: Place and value of the point that is added to the second step: without loss the outcome is at its best.
HELPER = (0.0, 1.0)
#: Rungs whose tokens rise in step with their parameters do not tell the two apart.
_COLLINEAR = 0.98


@dataclass(frozen=True)
class Steps:
    """What is fitted to what."""

    first: Law
    second: Law | None
    inputs: tuple[str, ...]
    """Columns that the first law's inputs are read from."""
    window: int
    skip: float
    smoothing: int
    helper: bool
    threads: int | None

    @property
    def name(self) -> str:
        """The laws in a word."""
        return self.first.name if self.second is None else f"{self.first.name}, {self.second.name}"


def trained(task: Task) -> list[tuple[Run, Curve]]:
    """Training runs that have what the first step is fitted to."""
    return [(run, run.first) for run in task.train if run.first is not None]


def fit_steps(tasks: Sequence[Task], steps: Steps) -> list[Chain | str]:
    """The fits of every task; a status where there is nothing to fit."""
    firsts = [_first_points(task, steps) for task in tasks]
    settings = settings_of(steps.first, None, None, threads=steps.threads)
    reasons = [
        "duplicate_key" if task.conflict else _reason(points, steps.first, logarithms=settings.log)
        for task, points in zip(tasks, firsts, strict=True)
    ]
    fitted = _fit_where(steps.first, firsts, reasons, steps)
    if steps.second is None:
        return _joined(tasks, fitted, [None] * len(tasks), reasons)
    seconds = [
        _second_points(task, points, steps) if not reason else points
        for task, points, reason in zip(tasks, firsts, reasons, strict=True)
    ]
    logarithms = settings_of(steps.second, None, None).log
    reasons = [
        reason or _reason(points, steps.second, logarithms=logarithms, varied=True)
        for points, reason in zip(seconds, reasons, strict=True)
    ]
    return _joined(tasks, fitted, _fit_where(steps.second, seconds, reasons, steps), reasons)


def _joined(
    tasks: Sequence[Task], first: Sequence[Fit | None], second: Sequence[Fit | None], reasons: Sequence[str]
) -> list[Chain | str]:
    return [
        reason if a is None or reason else chain_of(a, b, task.label)
        for task, a, b, reason in zip(tasks, first, second, reasons, strict=True)
    ]


def _fit_where(law: Law, groups: Sequence[Points], reasons: Sequence[str], steps: Steps) -> list[Fit | None]:
    """Fits of the groups that have no reason against one."""
    chosen = [index for index, reason in enumerate(reasons) if not reason]
    out: list[Fit | None] = [None] * len(groups)
    if chosen:
        settings = settings_of(law, None, None, threads=steps.threads)
        fits = fit_groups(law, [groups[index] for index in chosen], settings)
        for index, fit in zip(chosen, fits, strict=True):
            out[index] = fit
    return out


def _reason(points: Points, law: Law, *, logarithms: bool, varied: bool = False) -> str:
    """Why a law cannot be fitted; empty where it can."""
    lower, upper = law.inner_bounds
    places = set(zip(*(column.tolist() for column in points.variables.values()), strict=True))
    if len(places) < int(np.sum(lower < upper)):
        return "too_few"
    if logarithms and np.min(points.y) <= 0:
        return "not_finite"
    if varied and np.ptp(points.y[:-1]) == 0:  # the last one may be the helper
        return "constant"
    return ""


def inputs_of(law: Law, names: Sequence[str], curve: Curve, *, at: int = -1) -> dict[str, float]:
    """The inputs of a law at one checkpoint of a curve."""
    return {own: float(curve.inputs[name][at]) for own, name in zip(law.inputs, names, strict=True)}


def _first_points(task: Task, steps: Steps) -> Points:
    runs = trained(task)
    ends = [inputs_of(steps.first, steps.inputs, curve) for _, curve in runs]
    inputs = {name: np.array([end[name] for end in ends]) for name in steps.first.inputs}
    names = [run.name for run, _ in runs]
    rungs = np.array(
        [curve.end().get("params", ends[i][next(iter(inputs))]) for i, (_, curve) in enumerate(runs)]
    )
    return Points(
        task.label.row(0) if task.label.width else (),
        inputs,
        inputs,
        np.array([curve.final(steps.window) for _, curve in runs]),
        _codes(names),
        np.unique(rungs, return_inverse=True)[1].astype(np.int64),
    )


def _codes(names: Sequence[str]) -> NDArray[np.int64]:
    return np.unique(np.array(names, dtype=object), return_inverse=True)[1].astype(np.int64)


def _second_points(task: Task, first: Points, steps: Steps) -> Points:
    pairs = [run.paired(steps.skip, steps.smoothing) for run, _ in trained(task)]
    sizes = [len(loss) for loss, _ in pairs]
    loss, outcome = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    cluster, scale = np.repeat(first.cluster, sizes), np.repeat(first.scale, sizes)
    if steps.helper and len(loss):
        loss, outcome = np.append(loss, HELPER[0]), np.append(outcome, HELPER[1])
        cluster, scale = np.append(cluster, first.cluster.max() + 1), np.append(scale, scale[-1])
    assert steps.second is not None
    (name,) = steps.second.variables
    return Points(first.label, {name: loss}, {name: loss}, outcome, cluster, scale, told=True)


def pool_of(task: Task, steps: Steps, last: int) -> Pool:
    """The last checkpoints of every training run, for refits to random ones."""
    runs = trained(task)
    n = np.array([min(last, len(curve.values)) for _, curve in runs], dtype=np.int64)

    def padded(column: Callable[[Curve], Floats]) -> Floats:
        rows = [column(curve)[-count:] for (_, curve), count in zip(runs, n, strict=True)]
        return np.array([np.append(row, np.repeat(row[-1], last - len(row))) for row in rows])

    inputs = {
        own: padded(lambda curve, name=name: curve.inputs[name])  # type: ignore[misc]
        for own, name in zip(steps.first.inputs, steps.inputs, strict=True)
    }
    names = pl.DataFrame({"run": [run.name for run, _ in runs]})
    addressed = task.label.join(names, how="cross") if task.label.width else names
    return Pool(inputs, padded(lambda curve: curve.values), n, group_addresses(addressed))


def too_alike(tasks: Sequence[Task], names: Sequence[str]) -> bool:
    """Whether the ends of all training runs cannot tell two inputs apart."""
    ends = {
        tuple(curve.inputs[name][-1] for name in names)
        for task in tasks
        for _, curve in trained(task)
        if all(name in curve.inputs for name in names)
    }
    logs = np.log(np.array(sorted(ends))).reshape(len(ends), len(names))
    if len(ends) < 2 or np.any(np.ptp(logs, axis=0) == 0):
        return True
    return bool(abs(np.corrcoef(logs.T)[0, 1]) > _COLLINEAR)
