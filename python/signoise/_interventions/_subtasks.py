"""The verb `filter_subtasks`: what the SNR of a benchmark becomes as its subtasks are joined one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import Duplicates
from .._errors import OptionError
from .._measure import FEW_MEMBERS
from .._options import as_columns, check_choice, check_level, signature
from .._schema import as_expression
from .._scores import Filter, Groups, Scores, warn_notes
from .._status import Statuses, check_strict, flag_lists, result_column
from ._cube import Cube
from ._decision_curves import Pairs, matched_pairs
from ._ladder_curves import Ladder, ladder_of, ladder_rule
from ._selection import RULES, RandomUnions, nested_weights
from ._study import Study, check_settings, open_study
from ._union import Measured, Samples

Floats = NDArray[np.float64]


def filter_subtasks(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    groups: Groups = None,
    rules: str | Sequence[str] = ("snr", "greedy", "backward"),
    how: Literal["macro", "micro"] = "macro",
    score: Literal["mean", "final"] = "mean",
    noise: Literal["within", "mean_sd"] = "within",
    population: Filter = None,
    noise_runs: Filter = None,
    relative: bool = True,
    small: Filter = None,
    target: Filter = None,
    match: str | Sequence[str] | None = None,
    decision_score: Literal["final", "mean"] = "final",
    ladder_train: Filter = None,
    ladder_target: Filter = None,
    direction: Mapping[str, str] | None = None,
    across: str | Sequence[str] = "run",
    order: str = "tokens",
    window: int = 5,
    ddof: int = 1,
    n_random: int = 10,
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Order the subtasks of each benchmark by a rule, and measure the union of the first 1, 2, .. of them.

    The score of a union at a checkpoint is the mean of its subtasks' scores; its SNR is that of `snr`. **These numbers
    are of the scores that the choice was made on**: the best of many unions looks better than it is.
    `filtering_gain` says what of it remains on others.

    Parameters
    ----------
    scores, by, where, score, population, noise_runs, relative, across, order, window, columns, duplicates, strict
        As in `snr`. Of rows with a `subtask`, each task is one benchmark; rows without one are left out.
    groups
        ``{"mmlu57": "hendrycksTest-*"}``: these tasks are the subtasks of ``mmlu57``, and nothing else is looked at.
    rules
        ``"snr"``: by descending SNR of each subtask alone. ``"greedy"``: next the one that makes the SNR of the union
        largest. ``"backward"``: from all, drop the one whose loss leaves the largest SNR; what was dropped last comes
        first. What has no SNR comes last; ties go to the first by name.
    how
        ``"macro"``: unweighted mean of subtasks; ``"micro"``: weighted by instances, from the column ``n`` or from
        instance rows (the most that a row has).
    noise
        ``"within"`` or ``"mean_sd"``, as in `snr`.
    small, target
        Filters of the two sides of a decision accuracy, both or neither, as in `decision_accuracy`. Where they are
        given, `population` and `noise_runs` are by default the target's rows.
    match, direction
        As in `decision_accuracy`.
    decision_score
        Its ``score``; members that lack a subtask on some side are left out.
    ladder_train, ladder_target
        Filters: runs to learn a law of scale from and runs to predict, as in `prediction_error` (one step, its
        defaults), for the prediction error of each union. Runs that lack a subtask are left out.
    ddof
        Divisor n - ddof of variances.
    n_random
        Random unions of each size, the control: reshuffled at each size.
    confidence_level
        Share of the random unions between ``control_low`` and ``control_high``.
    rng_seed
        Of the random unions.
    threads
        Number of threads for reading; the result does not depend on it.

    Returns
    -------
    DataFrame
        A row for each benchmark, rule and number of subtasks: by-columns; ``rule, n_subtasks``; ``subtask``, the one
        that joined at this size; ``snr_alone``, its own SNR; ``mean, signal, noise, snr`` of the union; ``control,
        control_low, control_high``: mean and quantiles of the SNR of random unions of this size; with `small` and
        `target` also ``decision_accuracy`` of the union (ties one half), ``decision_control, decision_control_low,
        decision_control_high`` and ``n_members`` on both sides; with a ladder ``prediction_error`` (mean over targets
        of the relative errors' sizes) and ``prediction_control, prediction_control_low, prediction_control_high``;
        ``best``, whether the SNR is the largest of the rule; ``n_runs`` (members), ``n_checkpoints`` (smallest number
        used), ``status, flags, signature``.

    Undefined when
        As in `snr`, for a union: ``too_few``, ``constant``, ``zero_mean``, ``zero_noise``; undefined numbers are null.
        Decision accuracies are null below 2 members on both sides, prediction errors where the law has none.

    Notes
    -----
    A checkpoint counts where all subtasks have a score; others are left out and told of, and the window is the last
    of the complete ones. Everything that enters an SNR is linear or quadratic in the weights of subtasks, so that
    unions cost products of small matrices. Draws are addressed by `rng_seed`, the benchmark and the size.

    References
    ----------
    Heineman et al. 2025, "Signal and Noise", arXiv 2508.13144, section 5: descending SNR, unions over instances, 10
    random orders a size; greedy and backward selection are ours.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=6, recipes=8, params=1e9, signal=[0.05] * 3 + [0.002] * 3)
    >>> table = sn.filter_subtasks(scores, groups={"suite": "task-*"}, rules="snr")
    >>> sorted(table["subtask"].head(3))
    ['task-00', 'task-01', 'task-02']
    """
    check_choice("decision_score", decision_score, ("final", "mean"))
    check_level(confidence_level)
    if (small is None) != (target is None):
        raise OptionError("small and target make a decision accuracy together: give both or neither")
    if target is not None:
        population = target if population is None else population
        noise_runs = target if noise_runs is None else noise_runs
    settings = check_settings(
        rules=rules,
        how=how,
        score=score,
        noise=noise,
        window=window,
        ddof=ddof,
        relative=relative,
        n_random=n_random,
        rng_seed=rng_seed,
        across=across,
        order=order,
        population=population,
        noise_runs=noise_runs,
    )
    ladder = ladder_rule(ladder_train, ladder_target, direction=direction, order=order, threads=threads)
    sides = _given(small=small, target=target)
    study = open_study(
        scores,
        settings,
        by=by,
        where=where,
        use=[
            *sides,
            *(as_columns(match) if match else ("recipe", "run") if sides else ()),
            *(ladder.used if ladder else ()),
        ],
        groups=groups,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    if ladder is not None:
        ladder.check(study.table)
    pairs: list[Pairs | None] = [None] * len(study.cubes)
    if small is not None and target is not None:
        pairs = matched_pairs(
            study.table,
            study.cubes,
            small=small,
            target=target,
            match=match,
            by=as_columns(by),
            score=decision_score,
            window=window,
            direction=direction,
            order=order,
            columns=columns,
            duplicates=duplicates,
        )
        warn_notes(
            [
                f"{', '.join(str(value) for value in cube.group.values())}: {pair.n_unmatched} members are not on both "
                "sides with all subtasks and were left out of decision accuracies"
                for cube, pair in zip(study.cubes, pairs, strict=True)
                if pair is not None and pair.n_unmatched
            ]
        )
    text = signature(
        "filter_subtasks",
        **settings.for_signature(),
        small=small,
        target=target,
        match=match,
        decision_score=decision_score if sides else None,
        ladder_train=ladder_train,
        ladder_target=ladder_target,
        level=confidence_level,
    )
    parts = []
    for cube, pair, unit in zip(study.cubes, pairs, study.units(), strict=True):
        rungs = None if ladder is None else ladder_of(study.table, cube, ladder, window)
        shown = {"decision_": bool(sides), "prediction_": bool(ladder)}
        parts.append(_curves(study, cube, _Beside(pair, rungs), unit, confidence_level, shown))
    result = pl.concat(parts).with_columns(pl.lit(text).alias("signature"))
    check_strict(result, [*study.by, "rule", "n_subtasks"], strict=strict)
    return result


def _given(**filters: Filter) -> list[pl.Expr]:
    """Filters that are given, as expressions."""
    return [as_expression(value, name) for name, value in filters.items() if value is not None]


@dataclass(frozen=True)
class _Beside:
    """What unions are worth beside their SNR, where it is asked for."""

    pairs: Pairs | None
    ladder: Ladder | None

    def measures(self) -> dict[str, Callable[[Floats], Floats]]:
        """Start of the names of columns -> the measure of unions given by their weights."""
        found: dict[str, Callable[[Floats], Floats]] = {}
        if self.pairs is not None:
            found["decision_"] = self.pairs.agreement
        if self.ladder is not None:
            found["prediction_"] = self.ladder.errors
        return found


def _curves(
    study: Study, cube: Cube, beside: _Beside, unit: int, level: float, shown: Mapping[str, bool]
) -> pl.DataFrame:
    """Rows of one benchmark."""
    recipe, weights, size = study.recipe(cube), study.weights(cube), len(cube.subtasks)
    rules = study.settings.rules
    counts = np.concatenate([np.diff(side.starts) for side in cube.sides.values()])
    columns: dict[str, Any] = {name: [value] * (len(rules) * size) for name, value in cube.group.items()}
    columns |= {"rule": np.repeat(rules, size), "n_subtasks": np.tile(np.arange(1, size + 1), len(rules))}
    if recipe.n_members and len(recipe.noise.member):
        with np.errstate(all="ignore"):
            numbers, reasons = _measured(
                study,
                cube,
                recipe.whole(),
                weights,
                beside.measures(),
                (study.settings.rng_seed, unit),
                level,
            )
    else:
        numbers, reasons = _nothing(cube, rules), {"too_few": np.ones(len(rules) * size, dtype=bool)}
    if shown["decision_"]:
        n_members = 0 if beside.pairs is None else len(beside.pairs.small)
        numbers["n_members"] = np.full(len(rules) * size, n_members)
    hidden = tuple(start for start, up in shown.items() if not up)
    numbers = {name: values for name, values in numbers.items() if not name.startswith(hidden)}
    numbers |= {"n_runs": np.full(len(rules) * size, recipe.n_members)}
    numbers |= {"n_checkpoints": np.full(len(rules) * size, counts.min(initial=counts.max(initial=0)))}
    statuses = Statuses(len(rules) * size)
    for reason, where in reasons.items():
        statuses.set(reason, where)
    statuses.check_finite(~np.isfinite(numbers["snr"]))
    flags = {name: np.full(len(rules) * size, up) for name, up in study.flags(cube).items()}
    flags["few_members"] = np.full(len(rules) * size, recipe.n_members < FEW_MEMBERS)
    labels = pl.DataFrame(
        columns, schema_overrides={name: study.encoded.groups.schema[name] for name in cube.group}
    )
    return labels.with_columns(
        *(result_column(name, values) for name, values in numbers.items()),
        statuses.column(),
        flag_lists(flags, len(rules) * size),
    )


def _nothing(cube: Cube, rules: Sequence[str]) -> dict[str, Any]:
    """Columns of a benchmark without any complete checkpoint; its subtasks stand in lexical order."""
    rows = len(rules) * len(cube.subtasks)
    nan = np.full(rows, np.nan)
    return (
        {"subtask": pl.Series(cube.subtasks * len(rules), dtype=pl.String)}
        | dict.fromkeys(_NUMBERS, nan)
        | {"best": np.zeros(rows, dtype=bool)}
    )


_NUMBERS = (
    "snr_alone",
    "mean",
    "signal",
    "noise",
    "snr",
    "control",
    "control_low",
    "control_high",
    "decision_accuracy",
    "decision_control",
    "decision_control_low",
    "decision_control_high",
    "prediction_error",
    "prediction_control",
    "prediction_control_low",
    "prediction_control_high",
)
#: Columns of what is measured beside the SNR.
_BESIDE = {"decision_": "decision_accuracy", "prediction_": "prediction_error"}


def _measured(
    study: Study,
    cube: Cube,
    whole: Samples,
    weights: Floats,
    measures: Mapping[str, Callable[[Floats], Floats]],
    key: tuple[int, int],
    level: float,
) -> tuple[dict[str, Any], dict[str, NDArray[np.bool_]]]:
    settings, size = study.settings, len(cube.subtasks)
    orders = [RULES[rule](whole, weights)[0] for rule in settings.rules]
    nested = np.concatenate([nested_weights(order, weights) for order in orders])
    unions = whole.measure(nested)
    alone = whole.measure(np.eye(size)).snr[0]
    by_chance = RandomUnions(weights, settings.n_random, key)
    random = np.concatenate([by_chance.of(k) for k in range(1, size + 1)])
    controls = {"": whole.measure(random).snr[0]}
    nothing = {**dict.fromkeys(_BESIDE, lambda unions: np.full(len(unions), np.nan)), **measures}
    controls |= {start: measure(random) for start, measure in nothing.items()}
    summaries = {name: _summary(values.reshape(size, -1), level) for name, values in controls.items()}
    snr = unions.snr[0].reshape(len(orders), size)
    best = np.zeros_like(snr, dtype=bool)
    for row, values in enumerate(snr):
        if np.isfinite(values).any():
            best[row, np.nanargmax(values)] = True
    names = np.array(cube.subtasks, dtype=object)
    numbers: dict[str, Any] = {
        "subtask": pl.Series(np.concatenate([names[order] for order in orders]), dtype=pl.String),
        "snr_alone": np.concatenate([alone[order] for order in orders]),
        "mean": unions.mean[0],
        "signal": unions.signal[0],
        "noise": unions.noise[0],
        "snr": unions.snr[0],
    }
    numbers |= {f"control{end}": np.tile(values, len(orders)) for end, values in summaries[""].items()}
    for start, column in _BESIDE.items():
        numbers[column] = nothing[start](nested)
        numbers |= {
            f"{start}control{end}": np.tile(values, len(orders)) for end, values in summaries[start].items()
        }
    numbers["best"] = best.ravel()
    return numbers, _reasons(whole, unions, relative=settings.relative)


def _reasons(whole: Samples, unions: Measured, *, relative: bool) -> dict[str, NDArray[np.bool_]]:
    """Why the SNR of a union is undefined, or its signal nothing."""
    too_few = whole.scores.shape[1] < 2 or bool(np.isnan(whole.shares).any())
    reasons = {
        "too_few": np.full(len(unions.snr[0]), too_few),
        "constant": unions.signal[0] == 0,
        "zero_noise": unions.noise[0] == 0,
    }
    if relative:
        reasons["zero_mean"] = unions.mean[0] == 0
    return reasons


def _summary(draws: Floats, level: float) -> dict[str, Floats]:
    """Mean and quantiles of each row, of the defined ones."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    out = {
        "": np.full(len(draws), np.nan),
        "_low": np.full(len(draws), np.nan),
        "_high": np.full(len(draws), np.nan),
    }
    for row, values in enumerate(draws):
        defined = values[np.isfinite(values)]
        if len(defined):
            out[""][row] = defined.mean()
            out["_low"][row], out["_high"][row] = np.quantile(defined, tails)
    return out
