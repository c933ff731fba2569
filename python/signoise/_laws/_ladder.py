"""The verb `prediction_error`: can the scores of large models be foretold from small ones?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from .._duplicates import Duplicates
from .._errors import FitError, InsufficientDataError, OptionError
from .._metrics import direction as direction_of
from .._metrics import lookup
from .._options import as_columns, check_choice, check_count, check_level, check_threads, signature
from .._scores import Filter, Groups, Scores
from .._status import chance_of, result_column
from ._chain import Chain, checkpoint_refits, degrees_of_freedom, run_weights, rung_weights
from ._law import Floats, Law, find_law
from ._points import extrapolation
from ._rungs import SCALES, Run, Task, read_rungs
from ._status import FLAGS as FIT_FLAGS
from ._status import REMEDIES, status_of
from ._steps import Steps, fit_steps, inputs_of, pool_of, too_alike, trained
from ._target_noise import MARGINS, NoiseMargin, target_noise
from ._uncertainty import t_quantile

Interval = Literal["jackknife", "bootstrap", "none"]
INTERVALS: tuple[Interval, ...] = ("jackknife", "bootstrap", "none")

#: Flags beside those of a fit, in the order in which they are listed.
FLAGS = ("step2_at_bound", "extrapolated", "zero_actual", "near_chance", "few_checkpoints", "missing_values")
#: Beyond this many times the range of the training runs a prediction is flagged.
_FAR = 10.0
#: Law of the only step, by the direction of its metric: of parameters and tokens, and of compute alone.
_SINGLE = {-1: ("ladder_loss", "ladder_loss_flops"), 1: ("ladder_accuracy", "ladder_accuracy_flops")}
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
    rungs: bool = True
    """Whether each rung is left out in turn."""


def prediction_error(
    scores: Scores,
    *,
    train: Filter,
    target: Filter,
    intermediate: str | None = None,
    outcome: str | None = None,
    step1: str | Law | None = None,
    step2: str | Law | None = None,
    x: str | Sequence[str] | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    window: int = 5,
    skip: float = 0.1,
    smoothing: int = 5,
    helper: bool | None = None,
    chance: Mapping[str, float] | None = None,
    interval: Interval = "jackknife",
    last: int = 6,
    n_resamples: int = 1000,
    rng_seed: int = 0,
    noise_window: int = 30,
    noise_margin: NoiseMargin = "effective",
    confidence_level: float = 0.95,
    order: str = "tokens",
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    check_units: bool = True,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Predict the scores of large runs from those of small ones, and say how far off that is.

    With `intermediate` and `outcome` in two steps: a law of scale for the intermediate metric (task loss of params and
    tokens), then a law of the outcome (accuracy) given it. Without, every metric is predicted from scale at once.

    Parameters
    ----------
    scores, by, where, order, groups, columns, duplicates, strict, threads
        As in `snr`. In two steps the metric leaves the key.
    train, target
        Filters on rows: what is learnt from, and whose last checkpoints are predicted. No row may be in both.
    intermediate, outcome
        Metrics of the two steps, e.g. ``"bits_per_byte"`` and ``"acc"``; `outcome` alone is predicted in one step.
    step1, step2
        Laws (see `laws`). Default of the first, or only, step: ``"ladder_loss"``, in one step for metrics of which more is
        better ``"ladder_accuracy"``; their variants ``.._flops`` where the training runs do not tell params and tokens
        apart. Of the second ``"ladder_sigmoid"``.
    x
        Columns of the first law's inputs, in its order. Default: columns of their names.
    window
        The first step is fitted to the mean of each training run's last `window` checkpoints, at the place of its last
        one; what a target scores is the mean of its last `window` too.
    skip, smoothing
        The second step is fitted to all checkpoints that have both metrics, but for the first `skip` share of each run,
        as trailing means of `smoothing`.
    helper
        Add the point (0, 1) to the second step: without loss everything is right. Default: for ``"ladder_sigmoid"``.
    chance
        Chance levels by task, beside the known ones: a prediction whose band covers its level is ``near_chance``.
    interval
        Of the chained prediction: ``"jackknife"`` leaves one run out of both steps at a time, ``"bootstrap"`` draws runs
        for both steps, ``"none"``.
    last, n_resamples, rng_seed
        Refits of the first step to one random checkpoint of each training run's `last` ones; `n_resamples` of them (0:
        none), also of the bootstrap. Draws are addressed by group and run.
    noise_window, noise_margin
        Last checkpoints of a target that tell its noise; the margin of their mean, by their effective number or
        ``"compat"``, as the reference has it.
    confidence_level
        Of all intervals.
    check_units
        Refuse params, tokens and flops whose size says that they are in other units.

    Returns
    -------
    DataFrame
        A row for each group and target run: by-columns; ``run, params, tokens`` (and other inputs) of the target; ``law``;
        ``n_train`` (runs), ``n_points`` (of the last step); in two steps ``predicted_intermediate, actual_intermediate,
        intermediate_relative_error``; ``predicted, actual``; ``relative_error`` = (predicted - actual)/\\|actual\\|,
        ``absolute_error`` = predicted - actual, ``prediction_error`` = \\|relative_error\\|; ``low, high`` (where the curve
        is), ``prediction_low, prediction_high`` (where a new run falls); ``checkpoint_low, checkpoint_high,
        checkpoint_sd`` of the refits to random checkpoints; ``target_noise`` (sd of the relative errors against the
        target's last `noise_window` checkpoints) and ``target_margin`` (half the interval of their mean); ``rung_low,
        rung_high`` (lowest and highest prediction with one size left out); ``extrapolation`` (how many times beyond the
        training runs the farthest input lies); ``status, flags, signature``.

    Undefined when
        Fewer distinct training runs than parameters (``too_few``), an outcome that never changes (``constant``), values
        whose logarithm is taken and that are not above 0 (``not_finite``), no optimum (``not_converged``): no prediction.
        An actual score of 0 has no relative error (``zero_actual``); no target score, no error.

    Raises
    ------
    OptionError
        Filters that overlap or are not both there; laws that do not fit the step; a metric whose direction, which chooses
        the law, is not known.
    SchemaError
        Metrics or columns that are not there.

    Notes
    -----
    Nothing is dropped in silence: every training run of the filter is a point. ``low, high`` are value -/+ t s over runs
    (whole sizes where residuals differ between sizes beyond chance: ``rung_effects``); the wider interval adds the residual
    variance of both steps, the first through the slope of the second. Limits stay inside the metric's bounds. They are
    conditional on the laws: no interval knows that another law may be the true one, which is why ``rung_low, rung_high``
    stand beside them. The second step's curve holds every checkpoint and stays as it is in refits to random ones. A
    second step's parameter at its bound (accuracy 1 without loss) is no failure but a flag, ``step2_at_bound``.

    References
    ----------
    Bhagia et al. 2024, "Establishing Task Scaling Laws via Compute-Efficient Model Ladders", arXiv 2412.04403; Heineman et
    al. 2025, arXiv 2508.13144, section 2.3.

    Examples
    --------
    >>> import signoise as sn
    >>> sizes = [1e8, 2e8, 4e8, 8e8, 1.6e9, 7e9]
    >>> scores, _ = sn.simulate(tasks=1, metric="bits_per_byte", params=sizes, recipes=1, step_noise=1e-4)
    >>> out = sn.prediction_error(scores, train="params < 7e9", target="params = 7e9")
    >>> out["prediction_error"].item() < 0.01
    True
    """
    if intermediate is not None and outcome is None:
        raise OptionError("intermediate needs an outcome, e.g. intermediate='bits_per_byte', outcome='acc'")
    if intermediate is None and step2 is not None:
        raise OptionError("step2 is of an intermediate metric: name it, e.g. intermediate='bits_per_byte'")
    if intermediate is not None and intermediate == outcome:
        raise OptionError(
            f"intermediate and outcome are both {outcome!r}; for one step leave intermediate out"
        )
    check_choice("interval", interval, INTERVALS)
    check_choice("noise_margin", noise_margin, MARGINS)
    for name, count, least in (
        ("window", window, 1),
        ("smoothing", smoothing, 1),
        ("last", last, 1),
        ("noise_window", noise_window, 2),
        ("n_resamples", n_resamples, 2 if interval == "bootstrap" else 0),
        ("rng_seed", rng_seed, 0),
    ):
        check_count(name, count, least)
    if not isinstance(skip, (int, float)) or not 0 <= skip < 1:
        raise OptionError(f"skip must be a share of at least 0 and below 1, got {skip!r}")
    check_level(confidence_level)
    check_threads(threads)
    second = _second_law(intermediate, step2)
    metrics = None if outcome is None else (outcome,) if intermediate is None else (intermediate, outcome)
    given = None if step1 is None else find_law(step1)
    inputs = SCALES if given is None and x is None else _inputs(given, x)
    rungs = read_rungs(
        scores,
        train=train,
        target=target,
        metrics=metrics,
        inputs=inputs,
        by=as_columns(by),
        where=where,
        order=order,
        groups=groups,
        columns=columns,
        duplicates=duplicates,
        check_units=check_units,
        strict=strict,
        threads=threads,
    )
    if helper is None:
        helper = second is not None and second.name == "ladder_sigmoid"
    if helper:
        _check_helper(rungs.tasks, intermediate, outcome)
    options = Options(
        outcome,
        chance,
        interval,
        last,
        noise_window,
        noise_margin,
        n_resamples,
        rng_seed,
        confidence_level,
    )
    rows: list[dict[str, Any]] = []
    for law, tasks in _by_law(rungs.tasks, given, intermediate, outcome):
        names = inputs if given is not None or x is not None else tuple(law.inputs)
        steps = Steps(law, second, names, window, skip, smoothing, helper, threads)
        rows += error_rows(tasks, steps, options)
    stamp = signature(
        "prediction_error",
        train=train,
        target=target,
        intermediate=intermediate,
        outcome=outcome,
        window=window,
        skip=skip if second else None,
        smoothing=smoothing if second else None,
        helper=helper if second else None,
        interval=interval,
        last=last if n_resamples else None,
        resamples=n_resamples,
        rng=rng_seed,
        noise_window=noise_window,
        noise_margin=noise_margin,
        level=confidence_level,
        order=order,
    )
    table = _table(rows, rungs.tasks, rungs.by, two_steps=second is not None, stamp=stamp)
    _check_strict(table, rungs.by, strict=strict)
    return table


# --- laws -------------------------------------------------------------------------------------------


def _second_law(intermediate: str | None, step2: str | Law | None) -> Law | None:
    if intermediate is None:
        return None
    law = find_law("ladder_sigmoid" if step2 is None else step2)
    if len(law.variables) != 1 or law.prepare is not None:
        raise OptionError(
            f"step2: law {law.name!r} is of {', '.join(law.inputs)}; the second step is of one variable, the "
            "intermediate metric (ladder_sigmoid, ladder_log_sigmoid)"
        )
    return law


def _inputs(law: Law | None, x: str | Sequence[str] | None) -> tuple[str, ...]:
    """Columns of the first law's inputs."""
    names = () if x is None else as_columns(x)
    if law is None:
        raise OptionError("x names the inputs of a law: say which one, e.g. step1='power_law'")
    if law.prepare is not None:
        raise OptionError(
            f"step1: law {law.name!r} is of whole training curves; a ladder needs one of scale alone"
        )
    if not names and "x" in law.inputs:
        raise OptionError(f"step1: law {law.name!r} is of one amount: say which column it is, e.g. x='flops'")
    if names and len(names) != len(law.inputs):
        raise OptionError(
            f"law {law.name!r} takes {len(law.inputs)} columns ({', '.join(law.inputs)}), x names {len(names)}: "
            f"{', '.join(names)}"
        )
    return names or tuple(law.inputs)


def _by_law(
    tasks: Sequence[Task], given: Law | None, intermediate: str | None, outcome: str | None
) -> list[tuple[Law, list[Task]]]:
    """Tasks by the law of their first step."""
    if given is not None:
        return [(given, list(tasks))]
    parts: dict[int, list[Task]] = {}
    for task in tasks:
        sign = -1 if intermediate is not None else _direction(_metric(task, outcome))
        parts.setdefault(sign, []).append(task)
    return [(find_law(_SINGLE[sign][too_alike(part, SCALES)]), part) for sign, part in sorted(parts.items())]


def _metric(task: Task, outcome: str | None) -> str | None:
    """The metric that a task's last step predicts."""
    if outcome is not None:
        return outcome
    return task.label["metric"].item() if "metric" in task.label.columns else None


def _direction(metric: str | None) -> int:
    sign = None if metric is None else direction_of(metric)
    if sign is None:
        raise OptionError(
            f"nothing is known of metric {metric!r}, so no law can be chosen for it: name one, e.g. "
            "step1='ladder_loss' (--step1 ladder_loss)"
        )
    return sign


def _check_helper(tasks: Sequence[Task], intermediate: str | None, outcome: str | None) -> None:
    """Refuse the point (0, 1) where it cannot be true."""
    if intermediate is not None and direction_of(intermediate) == 1:
        raise OptionError(
            f"intermediate: {intermediate!r} is better when higher, but the second step takes a loss, which 0 makes "
            "perfect; name a loss, or other laws with step1, step2 and helper=False"
        )
    highest = max(
        (float(run.outcome.values.max()) for task in tasks for run in task.train if run.outcome is not None),
        default=0.0,
    )
    if highest > 1:
        raise OptionError(
            f"outcome {outcome!r} goes up to {highest:g}, and the second step takes shares of 1: divide percent by 100, or "
            "name another law with step2 and helper=False"
        )


# --- rows -------------------------------------------------------------------------------------------


def error_rows(tasks: Sequence[Task], steps: Steps, options: Options) -> list[dict[str, Any]]:
    """A row for each task and target run."""
    chains = fit_steps(tasks, steps)
    known = chance_of(
        pl.concat([task.label for task in tasks]).with_columns(
            *([] if options.outcome is None else [pl.lit(options.outcome).alias("metric")])
        ),
        options.chance,
    )
    rows: list[dict[str, Any]] = []
    for task, chain, chance in zip(tasks, chains, known, strict=True):
        rows += _task_rows(task, chain, steps, options, float(chance))
    _add_noise(rows, options)
    return rows


def _task_rows(
    task: Task, chain: Chain | str, steps: Steps, options: Options, chance: float
) -> list[dict[str, Any]]:
    rows = [_blank(task, run, steps) for run in task.target]
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
    if status in ("too_few", "not_converged") and rows:
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


def _blank(task: Task, run: Run, steps: Steps) -> dict[str, Any]:
    """The row of a target, before anything is predicted."""
    row: dict[str, Any] = dict.fromkeys(_FLOATS, np.nan)
    curve = run.outcome or run.first
    first = run.first if steps.second is not None else None
    row |= {
        "label": task.label,
        "run": run.name,
        "curve": run.outcome,
        "law": steps.name,
        "inputs": None if curve is None else inputs_of(steps.first, steps.inputs, curve),
        "n_train": len(trained(task)),
        "n_points": 0,
        "status": "ok",
        "flags": set(),
    }
    row |= {name: np.nan for name in (*SCALES, *steps.inputs)}
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
    bounds = _bounds(_metric(task, options.outcome))
    df = degrees_of_freedom(chain)
    if options.interval != "none" and df >= 1:
        weights = run_weights(chain, options.interval, task.label, options.n_resamples, options.rng_seed)
        curves = _usable(chain.predict(variables, n, *chain.refits(weights))[1])
        if len(curves) >= max(2.0, 0.9 * len(weights)):
            m = len(curves)
            squares = np.sum((curves - curves.mean(axis=0)) ** 2, axis=0)
            variance = squares * (m - 1) / m if options.interval == "jackknife" else squares / (m - 1)
            t = t_quantile(options.confidence_level, df)
            new = variance + chain.new_variance(variables, n)
            for name, spread in (("low", variance), ("prediction_low", new)):
                half = t * np.sqrt(spread)
                out[name] = np.clip(predicted - half, *bounds)
                out[name.replace("low", "high")] = np.clip(predicted + half, *bounds)
    if options.rungs:
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


def _bounds(metric: str | None) -> tuple[float, float]:
    """Between what a metric lies."""
    known = None if metric is None else lookup(metric)
    low, high = (None, None) if known is None else (known.low, known.high)
    return -np.inf if low is None else low, np.inf if high is None else high


def _add_noise(rows: list[dict[str, Any]], options: Options) -> None:
    """What each target's own noise makes of its error."""
    metrics = [
        options.outcome or str(row["label"].get_column("metric", default=pl.Series([""]))[0]) for row in rows
    ]
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


def _table(
    rows: list[dict[str, Any]], tasks: Sequence[Task], by: Sequence[str], *, two_steps: bool, stamp: str
) -> pl.DataFrame:
    """Rows as a frame, sorted by group and target."""
    if not rows:
        raise InsufficientDataError(
            "no group has both training runs and a target; look at the values of train and target"
        )
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
_SKIPPED = (*_FLOATS, "label", "run", "curve", "law", "inputs", "n_train", "n_points", "status", "flags")


def _check_strict(table: pl.DataFrame, by: Sequence[str], *, strict: bool) -> None:
    """Raise for the first row whose status is not ``ok``."""
    bad = table.filter(pl.col("status") != "ok")
    if strict and bad.height:
        row = bad.row(0, named=True)
        where = ", ".join(f"{name}={row[name]}" for name in by)
        remedy = REMEDIES.get(row["status"], "filter it out (where=...)")
        raise FitError(f"the ladder{' of ' * bool(where)}{where} is {row['status']!r}: {remedy}")
