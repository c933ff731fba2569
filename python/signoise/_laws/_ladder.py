"""The verb `prediction_error`: can the scores of large models be foretold from small ones?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import polars as pl

from .._duplicates import Duplicates
from .._errors import InsufficientDataError, OptionError
from .._metrics import direction as direction_of
from .._options import as_columns, check_choice, check_count, check_level, check_threads, signature
from .._scores import Filter, Groups, Scores
from ._ladder_rows import INTERVALS, Interval, Options, error_rows, error_table, metric_bounds, metric_of
from ._law import Law, find_law
from ._rungs import SCALES, Task, read_rungs
from ._status import check_strict
from ._steps import Steps, too_alike, trained
from ._target_noise import MARGINS, NoiseMargin

#: Law of the only step, by the direction of its metric: of parameters and tokens, and of compute alone.
_SINGLE = {-1: ("ladder_loss", "ladder_loss_flops"), 1: ("ladder_accuracy", "ladder_accuracy_flops")}


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
    direction: Mapping[str, str] | None = None,
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
    r"""Predict the scores of large runs from those of small ones, and say how far off that is.

    With `intermediate` and `outcome` in two steps: a law of scale for the intermediate metric (task loss of params
    and tokens), then a law of the outcome (accuracy) given it. Without, every metric is predicted from scale at once.

    Parameters
    ----------
    scores, by, where, order, groups, columns, duplicates, strict, threads
        As in `snr`. In two steps the metric leaves the key.
    train, target
        Filters on rows: what is learnt from, and whose last checkpoints are predicted. No row may be in both.
    intermediate, outcome
        Metrics of the two steps, e.g. ``"bits_per_byte"`` and ``"acc"``; `outcome` alone is predicted in one step.
    step1, step2
        Laws (see `laws`). Default of the first, or only, step: ``"ladder_loss"``, in one step for metrics of which
        more is better ``"ladder_accuracy"`` with E at most the highest possible score; their variants ``.._flops``
        where the training runs do not tell params and tokens apart. Of the second ``"ladder_sigmoid"``.
    x
        Columns of the first law's inputs, in its order. Default: columns of their names, or for flops 6 x params x
        tokens.
    window
        The first step is fitted to the mean of each training run's last `window` checkpoints, at the place of its
        last one; what a target scores is the mean of its last `window` too.
    skip, smoothing
        The second step is fitted to all checkpoints that have both metrics, but for the first `skip` share of each
        run, as trailing means of `smoothing`.
    helper
        Add the point (0, 1) to the second step: without loss everything is right. Default: for ``"ladder_sigmoid"``.
    chance
        Chance levels by task, beside the known ones: a prediction whose band covers its level is ``near_chance``.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known; it chooses the law of a single step.
    interval
        Of the prediction through all steps: ``"jackknife"`` leaves one run out of them at a time, ``"bootstrap"``
        draws runs for them, ``"none"`` leaves out ``rung_low, rung_high`` as well.
    last, n_resamples, rng_seed
        Refits of the first step to one random checkpoint of each training run's `last` ones; `n_resamples` of them
        (0: none), also of the bootstrap. Draws are addressed by group and run.
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
        A row for each group and target run: by-columns; ``run, params, tokens`` (and other inputs) of the target;
        ``law``; ``n_train`` (runs), ``n_points`` (of the last step); in two steps ``predicted_intermediate,
        actual_intermediate, intermediate_relative_error``; ``predicted, actual``; ``relative_error`` = (predicted -
        actual)/\|actual\|, ``absolute_error`` = predicted - actual, ``prediction_error`` = \|relative_error\|;
        ``low, high`` (where the curve is), ``prediction_low, prediction_high`` (where a new run falls);
        ``checkpoint_low, checkpoint_high, checkpoint_sd`` of the refits to random checkpoints; ``target_noise`` (sd
        of the relative errors against the target's last `noise_window` checkpoints) and ``target_margin`` (half the
        interval of their mean); ``rung_low, rung_high`` (lowest and highest prediction with one size left out);
        ``extrapolation`` (how many times beyond the training runs the farthest input lies); ``status, flags,
        signature``.

    Undefined when
        Fewer distinct training runs than parameters (``too_few``), an outcome that never changes (``constant``),
        values whose logarithm is taken and that are not above 0 (``not_finite``), no optimum (``not_converged``): no
        prediction. An actual score of 0 has no relative error (``zero_actual``); no target score, no error.

    Raises
    ------
    OptionError
        Filters that overlap or are not both there; laws that do not fit the step; a metric whose direction, which
        chooses the law, is not known.
    SchemaError
        Metrics or columns that are not there.

    Notes
    -----
    Nothing is dropped in silence: every training run of the filter is a point. ``low, high`` are value -/+ t s over
    runs (whole sizes where residuals differ between sizes beyond chance: ``rung_effects``); the wider interval adds
    the residual variance of both steps, the first through the slope of the second. Limits stay inside the metric's
    bounds. They are conditional on the laws: no interval knows that another law may be the true one, which is why
    ``rung_low, rung_high`` stand beside them. The second step's curve holds every checkpoint and stays as it is in
    refits to random ones. A second step's parameter at its bound (accuracy 1 without loss) is no failure but a flag,
    ``step2_at_bound``.

    References
    ----------
    Bhagia et al. 2024, "Establishing Task Scaling Laws via Compute-Efficient Model Ladders", arXiv 2412.04403;
    Heineman et al. 2025, arXiv 2508.13144, section 2.3.

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
    foretold = [task for task in rungs.tasks if task.target]
    if not foretold:
        raise InsufficientDataError(
            "no target has a score that can be used; look at the values behind target"
        )
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
    rows = []
    for law, tasks in _by_law(foretold, given, intermediate, outcome, direction):
        names = tuple(law.inputs) if given is None else inputs
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
    table = error_table(rows, rungs.by, two_steps=second is not None, stamp=stamp)
    check_strict(table, rungs.by, strict=strict, what="ladder")
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
    tasks: Sequence[Task],
    given: Law | None,
    intermediate: str | None,
    outcome: str | None,
    direction: Mapping[str, str] | None,
) -> list[tuple[Law, list[Task]]]:
    """Tasks by the law of their first step."""
    if given is not None:
        return [(given, list(tasks))]
    parts: dict[tuple[int, float], list[Task]] = {}
    for task in tasks:
        if intermediate is not None:
            kind = -1, math.inf
        else:
            metric = metric_of(task, outcome)
            kind = _sign(metric, direction), _highest(metric, task)
        parts.setdefault(kind, []).append(task)
    found = []
    for (sign, highest), part in sorted(parts.items()):
        law = find_law(_SINGLE[sign][too_alike(part, SCALES)])
        # Nearly straight lines of log scale would let the asymptote run away.
        limited = law.with_bounds({"E": (None, highest)}) if sign > 0 and highest < math.inf else law
        found.append((limited, part))
    return found


def _highest(metric: str | None, task: Task) -> float:
    """What a metric cannot exceed, unless the scores say otherwise (percent)."""
    limit = metric_bounds(metric)[1]
    scores = [float(curve.values.max()) for _, curve in trained(task)]
    return limit if max(scores, default=-math.inf) <= limit else math.inf


def _sign(metric: str | None, declared: Mapping[str, str] | None) -> int:
    sign = None if metric is None else direction_of(metric, declared)
    if sign is None:
        raise OptionError(
            f"nothing is known of metric {metric!r}, so no law can be chosen for it: name one, e.g. "
            "step1='ladder_loss' (--step1 ladder_loss), "
            'or declare direction={"name": "lower"} or --direction name=lower'
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
            f"outcome {outcome!r} goes up to {highest:g}, and the second step takes shares of 1: divide percent by "
            "100, or name another law with step2 and helper=False"
        )
