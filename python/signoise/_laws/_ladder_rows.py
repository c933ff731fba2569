"""The rows of `prediction_error`: predictions, errors, and everything that surrounds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from .._metrics import lookup
from .._status import chance_of, result_column
from ._chain import Chain, checkpoint_refits, degrees_of_freedom, run_weights, rung_weights
from ._law import Floats
from ._points import extrapolation
from ._rungs import SCALES, Run, Task
from ._status import FLAGS as FIT_FLAGS
from ._status import UNDEFINED, status_of
from ._steps import Steps, fit_steps, inputs_of, pool_of, trained
from ._target_noise import NoiseMargin, target_noise
from ._uncertainty import replicate_variance, t_quantile

Interval = Literal["jackknife", "bootstrap", "none"]
INTERVALS: tuple[Interval, ...] = ("jackknife", "bootstrap", "none")

#: Flags beside those of a fit, in the order in which they are listed.
FLAGS = ("step2_at_bound", "extrapolated", "zero_actual", "near_chance", "few_checkpoints", "missing_values")
#: Beyond this many times the range of the training runs a prediction is flagged.
_FAR = 10.0
_FLOATS = (
    "predicted_intermediate",
    "actual_intermediate",
    "intermediate_relative_error",
    "predicted",
    "actual",
    "relative_error",
    "absolute_error",
    "prediction_error",
    "low",
    "high",
    "prediction_low",
    "prediction_high",
    "checkpoint_low",
    "checkpoint_high",
    "checkpoint_sd",
    "target_noise",
    "target_margin",
    "rung_low",
    "rung_high",
    "extrapolation",
)


@dataclass(frozen=True)
class Options:
    """How errors and their intervals are found, whatever the laws are."""

    outcome: str | None
    chance: Mapping[str, float] | None
    interval: Interval
    last: int
    noise_window: int
    noise_margin: NoiseMargin
    n_resamples: int
    rng_seed: int
    confidence_level: float


def error_rows(tasks: Sequence[Task], steps: Steps, options: Options) -> list[dict[str, Any]]:
    """A row for each task and target run."""
    chains = fit_steps(tasks, steps)
    levels = _chances(tasks, options)
    rows: list[dict[str, Any]] = []
    for task, chain, chance in zip(tasks, chains, levels, strict=True):
        rows += _task_rows(task, chain, steps, options, float(chance))
    _add_noise(rows, options)
    return rows


def metric_of(task: Task, outcome: str | None) -> str | None:
    """The metric that a task's last step predicts."""
    if outcome is not None:
        return outcome
    return task.label["metric"].item() if "metric" in task.label.columns else None


def _chances(tasks: Sequence[Task], options: Options) -> Floats:
    """Chance level of each task; NaN where there is none."""
    labels = pl.concat([task.label for task in tasks])
    if "task" not in labels.columns:
        return np.full(len(tasks), np.nan)
    metric = [] if options.outcome is None else [pl.lit(options.outcome).alias("metric")]
    return chance_of(labels.with_columns(metric), options.chance)


def _task_rows(
    task: Task, chain: Chain | str, steps: Steps, options: Options, chance: float
) -> list[dict[str, Any]]:
    rows = [_blank(task, run, steps, metric_of(task, options.outcome)) for run in task.target]
    if isinstance(chain, str):
        for row in rows:
            row["status"] = chain
        return rows
    status, flags = _status(task, chain, steps)
    for row in rows:
        row |= {
            "status": status,
            "flags": set(flags),
            "n_points": (chain.second or chain.first).points.n,
        }
    if status in UNDEFINED and rows:
        return rows
    there = [index for index, row in enumerate(rows) if row["inputs"] is not None]
    if not there:
        return rows
    variables = {
        name: np.array([rows[index]["inputs"][name] for index in there]) for name in steps.first.inputs
    }
    found = _predictions(task, chain, variables, len(there), steps, options)
    for place, index in enumerate(there):
        row = rows[index]
        row |= {name: float(column[place]) for name, column in found.items()}
        if steps.second is None:
            row["predicted_intermediate"] = np.nan
        if row["extrapolation"] > _FAR:
            row["flags"].add("extrapolated")
        if row["low"] <= chance <= row["high"]:
            row["flags"].add("near_chance")
        _set_errors(row)
    return rows


def _blank(task: Task, run: Run, steps: Steps, metric: str | None) -> dict[str, Any]:
    """The row of a target, before anything is predicted."""
    row: dict[str, Any] = dict.fromkeys(_FLOATS, np.nan)
    curve = run.outcome or run.first
    first = run.first if steps.second is not None else None
    row |= {
        "label": task.label,
        "metric": metric,
        "run": run.name,
        "curve": run.outcome,
        "law": steps.name,
        "inputs": None if curve is None else inputs_of(steps.first, steps.inputs, curve),
        "n_train": len(trained(task)),
        "n_points": 0,
        "status": "ok",
        "flags": set(),
    }
    row |= dict.fromkeys((*SCALES, *steps.inputs), np.nan)
    if curve is not None:
        row |= {name: value for name, value in curve.end().items() if name in row}
    if first is not None:
        row["actual_intermediate"] = first.final(steps.window)
    if run.outcome is not None:
        row["actual"] = run.outcome.final(steps.window)
    return row


def _set_errors(row: dict[str, Any]) -> None:
    """The differences between what was predicted and what came out."""
    row["absolute_error"] = row["predicted"] - row["actual"]
    if row["actual"] == 0:
        row["flags"].add("zero_actual")
    else:
        row["relative_error"] = row["absolute_error"] / abs(row["actual"])
        row["prediction_error"] = abs(row["relative_error"])
    if row["actual_intermediate"] != 0:
        difference = row["predicted_intermediate"] - row["actual_intermediate"]
        row["intermediate_relative_error"] = difference / abs(row["actual_intermediate"])


def _status(task: Task, chain: Chain, steps: Steps) -> tuple[str, tuple[str, ...]]:
    """The worse status of the steps; a second step at a bound is only a flag."""
    status, flags = status_of(chain.first, chain.spread)
    if chain.second is not None:
        own, _ = status_of(chain.second, chain.spread)
        if own == "at_bound":
            flags = (*flags, "step2_at_bound")
        elif own != "ok":
            status = own
    if any(len(curve.values) < steps.window for _, curve in trained(task)):
        flags = (*flags, "few_checkpoints")
    if task.missing:
        flags = (*flags, "missing_values")
    return status, flags


def _predictions(
    task: Task, chain: Chain, variables: Mapping[str, Floats], n: int, steps: Steps, options: Options
) -> dict[str, Floats]:
    """Predictions at n places and everything around them."""
    between, predicted = (row[0] for row in chain.predict(variables, n))
    out = {"predicted_intermediate": between, "predicted": predicted}
    out["extrapolation"] = extrapolation(chain.first.points, variables, n)
    bounds = metric_bounds(metric_of(task, options.outcome))
    df = degrees_of_freedom(chain)
    if options.interval != "none" and df >= 1:
        weights = run_weights(chain, options.interval, task.label, options.n_resamples, options.rng_seed)
        curves = _usable(chain.predict(variables, n, *chain.refits(weights))[1])
        if len(curves) >= max(2.0, 0.9 * len(weights)):
            variance = replicate_variance(options.interval, curves)
            t = t_quantile(options.confidence_level, df)
            new = variance + chain.new_variance(variables, n)
            for name, spread in (("low", variance), ("prediction_low", new)):
                half = t * np.sqrt(spread)
                out[name] = np.clip(predicted - half, *bounds)
                out[name.replace("low", "high")] = np.clip(predicted + half, *bounds)
    if options.interval != "none":
        curves = _usable(chain.predict(variables, n, *chain.refits(rung_weights(chain)))[1])
        if len(curves):
            out |= {"rung_low": curves.min(axis=0), "rung_high": curves.max(axis=0)}
    if options.n_resamples:
        first = checkpoint_refits(
            chain, pool_of(task, steps, options.last), options.n_resamples, options.rng_seed
        )
        curves = _usable(chain.predict(variables, n, first)[1])
        if len(curves) >= 2:
            tail = 50 * (1 - options.confidence_level)
            low, high = np.percentile(curves, [tail, 100 - tail], axis=0)
            out |= {
                "checkpoint_low": low,
                "checkpoint_high": high,
                "checkpoint_sd": curves.std(axis=0, ddof=1),
            }
    return out


def _usable(curves: Floats) -> Floats:
    """Replicates that are fits."""
    kept: Floats = curves[np.isfinite(curves).all(axis=1)]
    return kept


def metric_bounds(metric: str | None) -> tuple[float, float]:
    """Between what a metric lies."""
    known = None if metric is None else lookup(metric)
    low, high = (None, None) if known is None else (known.low, known.high)
    return -np.inf if low is None else low, np.inf if high is None else high


def _add_noise(rows: list[dict[str, Any]], options: Options) -> None:
    """What each target's own noise makes of its error."""
    metrics = [row["metric"] or "" for row in rows]
    strata = np.unique(np.array(metrics, dtype=object), return_inverse=True)[1].astype(np.intp)
    noise, margin = target_noise(
        [row["curve"] for row in rows],
        np.array([row["predicted"] for row in rows]),
        strata,
        options.noise_window,
        options.noise_margin,
        options.confidence_level,
    )
    for row, sd, half in zip(rows, noise, margin, strict=True):
        row |= {"target_noise": float(sd), "target_margin": float(half)}


def error_table(
    rows: Sequence[Mapping[str, Any]], by: Sequence[str], *, two_steps: bool, stamp: str
) -> pl.DataFrame:
    """Rows as a frame, sorted by group and target."""
    labels = pl.concat([row["label"] for row in rows]) if by else pl.DataFrame()
    extra = [name for name in rows[0] if name not in _SKIPPED and name not in SCALES]
    floats = [name for name in _FLOATS if two_steps or "intermediate" not in name]
    columns = [pl.Series("run", [row["run"] for row in rows], dtype=pl.String)]
    columns += [
        result_column(name, np.array([row.get(name, np.nan) for row in rows])) for name in (*SCALES, *extra)
    ]
    columns += [pl.Series("law", [row["law"] for row in rows])]
    columns += [
        pl.Series(name, [row[name] for row in rows], dtype=pl.Int64) for name in ("n_train", "n_points")
    ]
    columns += [result_column(name, np.array([row[name] for row in rows], dtype=float)) for name in floats]
    order = (*FIT_FLAGS, *FLAGS)
    columns += [
        pl.Series("status", [row["status"] for row in rows]),
        pl.Series(
            "flags",
            [[flag for flag in order if flag in row["flags"]] for row in rows],
            dtype=pl.List(pl.String),
        ),
    ]
    frame = pl.DataFrame([*labels.get_columns(), *columns]).with_columns(signature=pl.lit(stamp))
    return frame.sort([*by, "run", "tokens"], nulls_last=True)


#: What a row holds beside its inputs.
_SKIPPED = (
    *_FLOATS,
    *("label", "metric", "run", "curve", "law", "inputs", "n_train", "n_points", "status", "flags"),
)
