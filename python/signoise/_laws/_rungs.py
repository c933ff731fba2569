"""From a score table to the runs of a ladder: small ones to learn from, and targets to predict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import Duplicates
from .._encode import Encoded, encode
from .._errors import OptionError, SchemaError
from .._kernels import kernels
from .._no_rows import no_row_satisfies
from .._schema import RUN_IDENTITY, as_expression, did_you_mean, predicate
from .._scores import Filter, Groups, Scores, load, note_key, warn_notes
from ._columns import check_plausible, input_column
from ._law import Floats

#: What every row of a result says of its target, where the table knows it.
SCALES = ("params", "tokens")


@dataclass(frozen=True)
class Curve:
    """Checkpoints of one run on one metric, in training order."""

    positions: Floats
    values: Floats
    inputs: Mapping[str, Floats]

    def places(self) -> NDArray[np.complex128]:
        """Positions; checkpoints at the same one are told apart by their number."""
        number = np.arange(len(self.positions)) - np.searchsorted(self.positions, self.positions)
        return self.positions + 1j * number

    def final(self, window: int) -> float:
        """Mean of the last `window` checkpoints."""
        return float(np.mean(self.values[-window:]))

    def end(self) -> dict[str, float]:
        """The inputs at the last checkpoint."""
        return {name: float(column[-1]) for name, column in self.inputs.items()}


@dataclass(frozen=True)
class Run:
    """One training run on one task: a curve for each step's metric, None where it has no score of it."""

    name: str
    curves: tuple[Curve | None, ...]

    @property
    def first(self) -> Curve | None:
        """What the first step is fitted to."""
        return self.curves[0]

    @property
    def outcome(self) -> Curve | None:
        """What is predicted in the end."""
        return self.curves[-1]

    def paired(self, skip: float, smoothing: int) -> tuple[Floats, Floats]:
        """Both metrics at the checkpoints that have both, the first share left out, as trailing means."""
        first, outcome = self.curves[0], self.curves[-1]
        if first is None or outcome is None:
            return np.empty(0), np.empty(0)
        _, in_first, in_outcome = np.intersect1d(first.places(), outcome.places(), return_indices=True)
        # The share of 10 checkpoints that is 0.1 is one, whatever 0.1 * 10 is in binary.
        left_out = math.ceil(round(skip * len(in_first), 9))
        offsets = np.array([0, len(in_first) - left_out], dtype=np.uintp)
        smooth = [
            kernels().trailing_mean(np.ascontiguousarray(values[left_out:]), offsets, smoothing)
            for values in (first.values[in_first], outcome.values[in_outcome])
        ]
        return smooth[0], smooth[1]


@dataclass(frozen=True)
class Task:
    """The runs of one group."""

    label: pl.DataFrame
    """What tells the group apart, one row."""
    train: list[Run]
    target: list[Run]
    missing: bool
    """Whether some of its scores are missing."""
    conflict: bool
    """Whether one key carries different values."""


@dataclass(frozen=True)
class Rungs:
    """All groups of a table."""

    by: tuple[str, ...]
    tasks: list[Task]


def read_rungs(
    scores: Scores,
    *,
    train: Filter,
    target: Filter,
    metrics: Sequence[str] | None,
    inputs: Sequence[str],
    by: Sequence[str],
    where: Filter,
    order: str,
    groups: Groups,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    check_units: bool,
    strict: bool,
    threads: int | None,
) -> Rungs:
    """Runs of every group, on each side. With two `metrics` they leave the key; with None every metric is a group."""
    sides = {"train": train, "target": target}
    expressions = {name: as_expression(side, name) for name, side in sides.items() if side is not None}
    if len(expressions) < 2:
        raise OptionError(
            'train and target are both needed, e.g. train="params < 3e9", target="params = 7e9"'
        )
    table = load(
        scores,
        columns=columns,
        where=where,
        groups=groups,
        use=[*by, *RUN_IDENTITY, order, *SCALES, "flops", *inputs, *expressions.values()],
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    frame, notes = table.frame, list(table.notes)
    if metrics is not None:
        frame = _of_metrics(frame, metrics)
    masks = _masks(frame, sides)
    sized = _inputs(frame, inputs, check_units=check_units)
    frame = frame.hstack(masks)
    leave = ["metric"] if metrics is not None and len(metrics) > 1 else []
    encoded = encode(
        frame,
        by=[name for name in by if name not in leave],
        members=("run",),
        order=order,
        masks={name: pl.col(f"__{name}") for name in sides},
        leave_key=leave,
        duplicates=duplicates,
    )
    found = {side: _runs(encoded, side, sized, inputs, metrics) for side in sides}
    gone = (encoded.n_missing + encoded.n_nan) > 0
    tasks = [
        Task(
            encoded.groups[group : group + 1].select(encoded.by),
            train_runs,
            target_runs,
            bool(gone[group]),
            bool(encoded.conflicts[group]),
        )
        for group, (train_runs, target_runs) in enumerate(
            zip(found["train"].runs, found["target"].runs, strict=True)
        )
    ]
    notes += [note for side in found.values() for note in side.notes]
    warn_notes(notes)
    note_key(encoded, [name for name in by if name not in leave])
    return Rungs(encoded.by, tasks)


def _of_metrics(frame: pl.DataFrame, metrics: Sequence[str]) -> pl.DataFrame:
    known = frame["metric"].unique().drop_nulls().sort().to_list()
    for name in metrics:
        if name not in known:
            raise SchemaError(
                f"the table has no metric {name!r}{did_you_mean(name, known)}; it has {', '.join(known)}"
            )
    return frame.filter(pl.col("metric").is_in(list(metrics)))


def _masks(frame: pl.DataFrame, sides: Mapping[str, Filter]) -> pl.DataFrame:
    """The rows of each side, as columns."""
    checked = {name: predicate(side, name, frame.schema) for name, side in sides.items()}
    masks = frame.select(
        mask.fill_null(value=False).alias(f"__{name}") for name, mask in checked.items() if mask is not None
    )
    for name, side in sides.items():
        if not masks[f"__{name}"].any():
            raise SchemaError(no_row_satisfies(name, side, frame))
    both = masks.select(pl.all_horizontal(pl.all()).sum()).item()
    if both:
        raise OptionError(
            f"{both} rows are in both train and target: what is predicted must not be learnt from; narrow one of them"
        )
    return masks


def _inputs(frame: pl.DataFrame, names: Sequence[str], *, check_units: bool) -> dict[str, Floats]:
    """Each input at each row; NaN where it is missing."""
    out = {}
    for name in names:
        column = input_column(frame, name, [])
        if check_units:
            check_plausible(name, column)
        out[name] = column.fill_null(float("nan")).to_numpy()
    have = [name for name in SCALES if name not in out and name in frame.columns]
    if set(SCALES) <= {*out, *have}:
        have.append("flops")  # at least as 6 x params x tokens
    for name in dict.fromkeys(have):
        out.setdefault(name, input_column(frame, name, []).fill_null(float("nan")).to_numpy())
    return out


@dataclass(frozen=True)
class _Side:
    runs: list[list[Run]]
    notes: list[str]


def _runs(
    encoded: Encoded,
    side: str,
    inputs: Mapping[str, Floats],
    needed: Sequence[str],
    metrics: Sequence[str] | None,
) -> _Side:
    """Runs of each group on one side, in the order of their labels."""
    keep = encoded.rows(side)
    values, positions, offsets, filled = encoded.select(side)
    at_row = {
        name: (column if encoded.row is None else column[encoded.row])[keep]
        for name, column in inputs.items()
    }
    sound = np.isfinite(values) & np.all([np.isfinite(at_row[name]) for name in needed], axis=0)
    keys = encoded.heads.select(name for name in RUN_IDENTITY if name in encoded.heads.columns).rows()
    names = encoded.heads["run"].to_list()
    slots: NDArray[np.intp] = np.zeros(len(keys), dtype=np.intp)
    n_slots = 1
    if metrics is not None and len(metrics) > 1:
        n_slots = len(metrics)
        slots = np.array([list(metrics).index(metric) for metric in encoded.heads["metric"]], dtype=np.intp)
    place = {int(block): index for index, block in enumerate(filled)}
    curves: list[dict[tuple[object, ...], list[Curve | None]]] = [{} for _ in range(len(encoded.groups))]
    named: dict[tuple[object, ...], str] = {}
    for block in encoded.canonical.tolist():
        if block not in place:
            continue
        rows = slice(int(offsets[place[block]]), int(offsets[place[block] + 1]))
        usable = sound[rows]
        if not usable.any():
            continue
        curve = Curve(
            positions[rows][usable],
            values[rows][usable],
            {name: column[rows][usable] for name, column in at_row.items()},
        )
        key = keys[block]
        named[key] = str(names[block])
        curves[int(encoded.group_of[block])].setdefault(key, [None] * n_slots)[int(slots[block])] = curve
    lost = int(np.sum(~sound))
    notes = (
        [f"{lost} rows of {side} without {', '.join(needed)} or a finite value were left out"] if lost else []
    )
    runs = [[Run(named[key], tuple(own)) for key, own in group.items()] for group in curves]
    return _Side(runs, notes)
