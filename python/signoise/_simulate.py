"""Score tables with planted truth: what estimators are judged against.

The score of one checkpoint is a sum of parts, each with its own argument::

    value = level + size_gain log10(params / 1e9)     same for every recipe
          + signal (sqrt(a) u + sqrt(1 - a) v)         recipe effect; a = scale_agreement
          + seed_noise s                               one draw per run
          + trend (shape(t) - 1)                       learning; 0 at the last checkpoint
          + step_noise e_t                             e_t = rho e_(t-1) + sqrt(1 - rho^2) z_t, e_0 = z_0

u (task, recipe), v (task, recipe, params), s (task, run) and z (task, run, t) are independent standard
normals, so recipe effects correlate by ``a`` between any two sizes, and e_t has sd 1 from the first
checkpoint on. Gains of size and training go downwards in metrics where lower is better.

Every draw has an address, (rng_seed, part, names), and no draw depends on how many were made before it: one
more task, recipe, size, seed or checkpoint leaves the values of the others as they were.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from ._errors import OptionError
from ._planted import Draws, Floats, PerTask, Suite, number, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

Counts = np.ndarray[Any, np.dtype[np.int64]]

_REFERENCE_PARAMS = 1e9


def simulate(
    *,
    tasks: int | Sequence[str] = 8,
    recipes: int | Sequence[str] = 10,
    params: float | Sequence[float] = (150_000_000, 1_000_000_000),
    seeds: int = 1,
    checkpoints: int = 20,
    instances: int = 0,
    metric: str | Sequence[str] = "acc",
    level: float | Sequence[float | None] | None = None,
    size_gain: PerTask = 0.05,
    signal: PerTask = 0.02,
    scale_agreement: PerTask = 0.9,
    seed_noise: PerTask = 0.0,
    step_noise: PerTask = 0.005,
    autocorrelation: PerTask = 0.0,
    trend: PerTask = 0.0,
    trend_shape: Literal["saturating", "linear"] = "saturating",
    item_noise: PerTask = 0.15,
    prediction_noise: PerTask = 0.1,
    grid: PerTask = 0.0,
    chance: PerTask = 0.25,
    chance_tasks: int | Sequence[str] = 0,
    tokens_per_param: float = 100.0,
    step_size: int = 1000,
    results: bool = False,
    rng_seed: int = 0,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Make a suite of benchmark scores whose signal, noise and decision accuracy are known.

    Arguments marked *per task* take one number or one for each task, in the order of ``tasks``. Sizes of
    effects are in the unit of the metric (fractions for accuracies).

    Parameters
    ----------
    tasks, recipes : int or list of str
        How many (named ``task-00``, ``recipe-00``, ...), or the names. A task may be named twice with two
        metrics.
    params : number or list of numbers
        Model sizes in parameters; the largest is the target of the decision accuracies in ``truth``.
    seeds : int
        Training runs of each recipe at each size.
    checkpoints : int
        Checkpoints of each run, at steps ``step_size``, ``2 step_size``, ...
    instances : int
        Items of each task. 0 gives one row per checkpoint; otherwise one row per checkpoint and item.
    metric : str or list of str
        Per task. A fraction in [0, 1] (``acc``, ``acc_norm``, ``exact_match``, ``f1``, ``pass_at_1``,
        ``correct_prob``) or a metric where lower is better (``bits_per_byte``, ``byte_perplexity``,
        ``word_perplexity``, ``loss``).
    level : number or None
        Per task. Expected final score at 1e9 parameters; None draws it from the task's stream, between 0.4
        and 0.7 for fractions and between 0.8 and 1.2 for the others.
    size_gain : number
        Per task. Improvement for ten times the parameters.
    signal : number
        Per task. Sd of the population that true recipe effects are drawn from.
    scale_agreement : number in [0, 1]
        Per task. Correlation of true recipe effects between any two sizes: how far a small size can decide.
    seed_noise : number
        Per task. Sd between the expected scores of runs that differ in their seed alone.
    step_noise : number
        Per task. Sd of a checkpoint's expected score about its run's.
    autocorrelation : number in (-1, 1)
        Per task. Lag-1 autocorrelation of the step noise (AR(1), stationary from the first checkpoint).
    trend : number
        Per task. Improvement from the first checkpoint to the last, the same in every run.
    trend_shape : "saturating" or "linear"
        Nearly flat at the end (1 - exp(-5 t)), or the same slope everywhere, also inside the last window.
    item_noise : number
        Per task, with ``instances``. Sd over items of an item's expected score: difficulty. The item effects
        are evenly spaced, have mean 0 and this sd (divisor n) exactly, and are the same for every run.
    prediction_noise : number
        Per task, with ``instances`` and a metric that is no fraction. Sd of an item's score about its
        expectation. Items of fractions are right or wrong (Bernoulli), which fixes theirs.
    grid : number
        Per task, without ``instances``. Scores are rounded to multiples of it; ``1 / n_items`` makes ties as
        an accuracy over that many items does. 0 does not round. ``truth`` is that of the scores before
        rounding.
    chance : number in [0, 1]
        Per task. Chance level, where the metric is a fraction.
    chance_tasks : int or list of str
        How many tasks at the end of ``tasks`` (or which) are at chance: level ``chance`` for all recipes,
        sizes, steps and items, with seed and step noise alone.
    tokens_per_param : number
        Training tokens of a finished run per parameter.
    step_size : int
        Steps between checkpoints.
    results : bool
        With ``instances``, add a row without ``instance_id`` for each checkpoint: the mean over its items.
    rng_seed : int
        Chooses the draws; everything else about the call can change without moving a draw.

    Returns
    -------
    scores : polars.DataFrame
        The long score table, sorted by task, metric, run and step: ``run`` (``recipe-03-150M-seed0``),
        ``step``, ``tokens``, ``params``, ``recipe``, ``seed``, ``task``, ``metric``, ``value``; with
        ``instances`` also ``instance_id`` and ``weight`` (1).
    truth : polars.DataFrame
        One row per task, metric and params, sorted. The *true mean* of a recipe is its expected final score
        over seeds, checkpoints and items. Absolute quantities are in the unit of the metric, relative ones
        are divided by ``|mean|``.

        - ``n_recipes``: number of recipes.
        - ``mean``: mean over recipes of the true means.
        - ``signal``: relative dispersion of the true means, (max - min) / ``|mean|``.
        - ``recipe_sd``: sd (ddof 1) over recipes of the true means, as drawn.
        - ``recipe_sd_planted``: the population's sd, as asked for (0 at chance).
        - ``scale_agreement``: correlation of true means between sizes in the population (null where all are
          equal).
        - ``seed_noise``: sd between seeds of one recipe, absolute.
        - ``step_noise``: sd of a checkpoint's expected score, absolute.
        - ``item_noise``, ``prediction_noise``: sd between items, and sd within an item at the end of the run;
          absolute, null without ``instances``.
        - ``noise_absolute``: sd of a checkpoint's score on the given items,
          sqrt(step_noise^2 + prediction_noise^2 / instances).
        - ``noise``: the same, relative.
        - ``snr``: signal / noise.
        - ``autocorrelation``: lag-1 autocorrelation of checkpoint scores about their run's expectation.
        - ``trend``: improvement from first to last checkpoint, absolute, positive where the score gets
          better.
        - ``trend_final``: the part of it between the last two checkpoints.
        - ``chance``: chance level (null where the metric has none); ``at_chance``: whether the task sits
          there.
        - ``decision_accuracy``: share of recipe pairs whose true means are ordered alike at this size and at
          the largest (a pair tied at either counts one half); null for the largest.
        - ``expected_decision_accuracy``: its expectation when both sizes are judged by one final checkpoint
          of one seed, noise and seed noise included, for the true means as drawn; null for the largest.
        - ``n_clipped``: scores (with ``instances``: probabilities) that noise or trend drove out of [0, 1]
          and that were set to the bound. Planted sds hold where this is 0.

    Undefined when
        there is one recipe (``signal``, ``recipe_sd``, ``snr``, decision accuracies null), noise is 0
        (``snr``, ``autocorrelation`` null), or the mean is 0 (relative quantities null).

    Raises
    ------
    OptionError
        An argument is out of range, does not match the number of tasks, or plants a true mean outside [0, 1].

    Notes
    -----
    With r_a, r_b the sds of a single score at the two sizes and d_a, d_b the true differences of a pair, its
    expected agreement is P_a P_b + (1 - P_a)(1 - P_b), P = Phi(d / (sqrt(2) r)); the expectation is its mean
    over pairs.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, truth = sn.simulate(tasks=["easy", "hard"], recipes=4, signal=[0.05, 0.01])
    >>> scores.shape
    (320, 9)
    >>> truth.select("task", "params", "recipe_sd_planted").rows()[0]
    ('easy', 150000000, 0.05)
    """
    suite = Suite.of(
        tasks=tasks,
        recipes=recipes,
        params=params,
        metric=metric,
        seeds=whole("seeds", seeds, 1),
        checkpoints=whole("checkpoints", checkpoints, 1),
        instances=whole("instances", instances, 0),
        chance_tasks=chance_tasks,
        level=level,
        trend_shape=trend_shape,
        per_task={
            "size_gain": (size_gain, -math.inf, math.inf),
            "signal": (signal, 0.0, math.inf),
            "scale_agreement": (scale_agreement, 0.0, 1.0),
            "seed_noise": (seed_noise, 0.0, math.inf),
            "step_noise": (step_noise, 0.0, math.inf),
            "autocorrelation": (autocorrelation, math.nextafter(-1.0, 0.0), math.nextafter(1.0, 0.0)),
            "trend": (trend, -math.inf, math.inf),
            "item_noise": (item_noise, 0.0, math.inf),
            "prediction_noise": (prediction_noise, 0.0, math.inf),
            "grid": (grid, 0.0, math.inf),
            "chance": (chance, 0.0, 1.0),
        },
        draws=Draws(whole("rng_seed", rng_seed, 0)),
    )
    tokens_per_param = number("tokens_per_param", tokens_per_param, 0.0, math.inf)
    step_size = whole("step_size", step_size, 1)
    if results and not instances:
        raise OptionError("results=True: found instances=0, needed instances >= 1 for means over instances")

    means = _true_means(suite)
    values, clipped = _values(suite, means)
    scores = _score_table(suite, values, tokens_per_param, step_size, results=results)
    return scores, _truth_table(suite, means, clipped)


def _true_means(suite: Suite) -> Floats:
    """Expected final score of every recipe, (n_tasks, n_sizes, n_recipes)."""
    common = np.empty((len(suite.tasks), 1, len(suite.recipes)))
    own = np.empty((len(suite.tasks), len(suite.sizes), len(suite.recipes)))
    for t, key in enumerate(suite.keys):
        for r, recipe in enumerate(suite.recipes):
            common[t, 0, r] = suite.draws.at("recipe", *key, recipe).standard_normal()
            for p, size in enumerate(suite.sizes):
                own[t, p, r] = suite.draws.at("recipe at size", *key, recipe, size).standard_normal()
    agreement = suite.planted["scale_agreement"][:, None, None]
    effects = np.sqrt(agreement) * common + np.sqrt(1.0 - agreement) * own
    decades = np.log10(np.array(suite.sizes) / _REFERENCE_PARAMS)
    centres = suite.level[:, None] + (suite.direction * suite.planted["size_gain"])[:, None] * decades
    means = centres[:, :, None] + suite.planted["signal"][:, None, None] * effects

    outside = suite.fraction[:, None, None] & ((means < 0.0) | (means > 1.0))
    if outside.any():
        t, p, r = (int(axis[0]) for axis in np.nonzero(outside))
        raise OptionError(
            f"level, size_gain, signal: found a true mean of {means[t, p, r]:.4g} (task {suite.tasks[t]!r}, "
            f"params {suite.sizes[p]}), needed [0, 1] for {suite.metrics[t]}; lower signal or move level"
        )
    return means


def _values(suite: Suite, means: Floats) -> tuple[Floats, Counts]:
    """Scores (n_tasks, n_runs, n_checkpoints[, n_instances]); how many were clipped (n_tasks, n_sizes)."""
    shape = (len(suite.tasks), len(suite.runs), suite.checkpoints)
    draws = np.empty((*shape[:2], 1 + suite.checkpoints))
    for t, key in enumerate(suite.keys):
        for j, run in enumerate(suite.runs):
            suite.draws.at("run", *key, run.name).standard_normal(out=draws[t, j])
    rho = suite.planted["autocorrelation"][:, None]
    noise = draws[:, :, 1:]
    if rho.any():
        fresh = np.sqrt(1.0 - rho * rho)
        for k in range(1, suite.checkpoints):
            noise[:, :, k] = rho * noise[:, :, k - 1] + fresh * noise[:, :, k]

    size_of_run = np.array([run.size for run in suite.runs])
    centre = means[:, size_of_run, [run.recipe for run in suite.runs]]
    centre = centre + suite.planted["seed_noise"][:, None] * draws[:, :, 0]
    lacking = (suite.direction * suite.planted["trend"])[:, None] * suite.progress
    expected = centre[:, :, None] - lacking[:, None, :] + suite.planted["step_noise"][:, None, None] * noise
    values = _instance_values(suite, expected) if suite.instances else expected

    clipped = np.zeros((shape[0], len(suite.sizes)), dtype=np.int64)
    for t, key in enumerate(suite.keys):
        if suite.fraction[t]:
            outside = ((values[t] < 0.0) | (values[t] > 1.0)).reshape(shape[1], -1).sum(axis=1)
            np.add.at(clipped[t], size_of_run, outside)
            np.clip(values[t], 0.0, 1.0, out=values[t])
        if suite.instances:
            _score_items(suite, t, key, values[t])
        elif suite.planted["grid"][t] > 0.0:
            values[t] = _round_to(values[t], float(suite.planted["grid"][t]))
    return values, clipped


def _instance_values(suite: Suite, expected: Floats) -> Floats:
    """Expected score of every item: the checkpoint's plus the item's effect."""
    n = suite.instances
    ranks = np.arange(n) - (n - 1) / 2.0
    # A lone item has no spread; otherwise evenly spaced with mean 0 and mean square 1 exactly.
    ladder = ranks / np.sqrt((n * n - 1) / 12.0) if n > 1 else ranks
    values = np.empty((*expected.shape, n))
    for t, key in enumerate(suite.keys):
        effects = suite.planted["item_noise"][t] * suite.draws.at("items", *key).permutation(ladder)
        np.add(expected[t][:, :, None], effects, out=values[t])
    return values


def _score_items(suite: Suite, t: int, key: tuple[str, str], values: Floats) -> None:
    """Turn expected scores (n_runs, n_checkpoints, n_instances) of one task into scores, in place."""
    for j, run in enumerate(suite.runs):
        generator = suite.draws.at("instances", *key, run.name)
        if suite.fraction[t]:
            values[j] = generator.random(values[j].shape) < values[j]
        else:
            values[j] += suite.planted["prediction_noise"][t] * generator.standard_normal(values[j].shape)


def _score_table(
    suite: Suite, values: Floats, tokens_per_param: float, step_size: int, *, results: bool
) -> pl.DataFrame:
    if results:
        # A null id sorts first, so the mean goes before its items.
        values = np.concatenate([values.mean(axis=3, keepdims=True), values], axis=3)
    n_tasks, n_runs, n_checkpoints = values.shape[:3]
    per_checkpoint = values.shape[3] if suite.instances else 1
    per_run = n_checkpoints * per_checkpoint
    per_task = n_runs * per_run

    def of_run(column: Sequence[Any], dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
        index = np.tile(np.repeat(np.arange(n_runs), per_run), n_tasks)
        return pl.Series(column, dtype=dtype).gather(index)

    def of_task(column: Sequence[str]) -> pl.Series:
        return pl.Series(column, dtype=pl.String).gather(np.repeat(np.arange(n_tasks), per_task))

    steps = step_size * np.arange(1, n_checkpoints + 1, dtype=np.int64)
    budget = tokens_per_param * np.array([float(suite.sizes[run.size]) for run in suite.runs])
    tokens = budget[:, None] * (np.arange(1, n_checkpoints + 1) / n_checkpoints)
    columns: dict[str, pl.Series] = {
        "run": of_run([run.name for run in suite.runs], pl.String),
        "step": pl.Series(np.tile(np.repeat(steps, per_checkpoint), n_tasks * n_runs)),
        "tokens": pl.Series(np.tile(np.repeat(tokens.ravel(), per_checkpoint), n_tasks)),
        "params": of_run([suite.sizes[run.size] for run in suite.runs], pl.Int64),
        "recipe": of_run([suite.recipes[run.recipe] for run in suite.runs], pl.String),
        "seed": of_run([run.seed for run in suite.runs], pl.Int64),
        "task": of_task(suite.tasks),
        "metric": of_task(suite.metrics),
    }
    if suite.instances:
        width = max(4, len(str(suite.instances - 1)))
        ids: list[str | None] = [f"{i:0{width}d}" for i in range(suite.instances)]
        index = np.tile(np.arange(per_checkpoint), n_tasks * n_runs * n_checkpoints)
        columns["instance_id"] = pl.Series([None, *ids] if results else ids, dtype=pl.String).gather(index)
    columns["value"] = pl.Series(values.ravel())
    if suite.instances:
        columns["weight"] = pl.Series(np.ones(values.size))
    return pl.DataFrame(columns)


def _truth_table(suite: Suite, means: Floats, clipped: Counts) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    lacking = suite.progress[-2] if suite.checkpoints > 1 else 0.0
    for t, (task, metric) in enumerate(suite.keys):
        planted = {name: float(column[t]) for name, column in suite.planted.items()}
        single_score_sds: list[float] = []
        first_row = len(rows)
        for p, size in enumerate(suite.sizes):
            true = means[t, p]
            mean = float(true.mean())
            prediction = _prediction_sd(suite, t, true) if suite.instances else None
            spread = float(true.max() - true.min()) if len(true) > 1 else None
            variance = planted["step_noise"] ** 2 + (prediction or 0.0) ** 2 / max(1, suite.instances)
            noise = math.sqrt(variance)
            single_score_sds.append(math.sqrt(variance + planted["seed_noise"] ** 2))
            rows.append(
                {
                    "task": task,
                    "metric": metric,
                    "params": size,
                    "n_recipes": len(true),
                    "mean": mean,
                    "signal": _ratio(spread, abs(mean)),
                    "recipe_sd": float(true.std(ddof=1)) if len(true) > 1 else None,
                    "recipe_sd_planted": planted["signal"],
                    "scale_agreement": planted["scale_agreement"] if planted["signal"] > 0.0 else None,
                    "seed_noise": planted["seed_noise"],
                    "step_noise": planted["step_noise"],
                    "item_noise": planted["item_noise"] * (suite.instances > 1) if suite.instances else None,
                    "prediction_noise": prediction,
                    "noise_absolute": noise,
                    "noise": _ratio(noise, abs(mean)),
                    "snr": _ratio(spread, noise) if mean != 0.0 else None,
                    "autocorrelation": _ratio(
                        planted["autocorrelation"] * planted["step_noise"] ** 2, variance
                    ),
                    "trend": planted["trend"] if suite.checkpoints > 1 else 0.0,
                    "trend_final": planted["trend"] * float(lacking),
                    "chance": planted["chance"] if suite.fraction[t] else None,
                    "at_chance": bool(suite.at_chance[t]),
                    "decision_accuracy": None,
                    "expected_decision_accuracy": None,
                    "n_clipped": int(clipped[t, p]),
                }
            )
        if len(suite.recipes) > 1:
            for p in range(len(suite.sizes) - 1):
                pair = means[t, [p, -1]]
                row = rows[first_row + p]
                row["decision_accuracy"] = _expected_agreement(pair, (0.0, 0.0))
                noise_pair = (single_score_sds[p], single_score_sds[-1])
                row["expected_decision_accuracy"] = _expected_agreement(pair, noise_pair)
    return pl.DataFrame(rows, schema=_TRUTH_SCHEMA)


_TRUTH_SCHEMA: dict[str, Any] = {
    "task": pl.String,
    "metric": pl.String,
    "params": pl.Int64,
    "n_recipes": pl.Int64,
    "mean": pl.Float64,
    "signal": pl.Float64,
    "recipe_sd": pl.Float64,
    "recipe_sd_planted": pl.Float64,
    "scale_agreement": pl.Float64,
    "seed_noise": pl.Float64,
    "step_noise": pl.Float64,
    "item_noise": pl.Float64,
    "prediction_noise": pl.Float64,
    "noise_absolute": pl.Float64,
    "noise": pl.Float64,
    "snr": pl.Float64,
    "autocorrelation": pl.Float64,
    "trend": pl.Float64,
    "trend_final": pl.Float64,
    "chance": pl.Float64,
    "at_chance": pl.Boolean,
    "decision_accuracy": pl.Float64,
    "expected_decision_accuracy": pl.Float64,
    "n_clipped": pl.Int64,
}


def _prediction_sd(suite: Suite, t: int, true: Floats) -> float:
    """Sd of an item's score about its expectation, at the end of the run.

    For right-or-wrong items E p(1 - p) = m(1 - m) - var(p); p varies with item, seed and step about the mean
    m.
    """
    planted = suite.planted
    if not suite.fraction[t]:
        return float(planted["prediction_noise"][t])
    between = planted["seed_noise"][t] ** 2 + planted["step_noise"][t] ** 2
    if suite.instances > 1:
        between += planted["item_noise"][t] ** 2
    return math.sqrt(max(0.0, float(np.mean(true * (1.0 - true))) - float(between)))


def _expected_agreement(pair: Floats, sds: tuple[float, float]) -> float:
    """Mean probability that both sizes order a pair of recipes alike; sds of 0 give the plain share."""
    first, second = np.triu_indices(pair.shape[1], 1)
    wins = [_wins(scores[first] - scores[second], sd) for scores, sd in zip(pair, sds, strict=True)]
    return float(np.mean(wins[0] * wins[1] + (1.0 - wins[0]) * (1.0 - wins[1])))


_erf = np.frompyfunc(math.erf, 1, 1)


def _wins(differences: Floats, sd: float) -> Floats:
    if sd == 0.0:
        return (1.0 + np.sign(differences)) / 2.0
    # The difference of two scores has sd sqrt(2) sd, and Phi(x) = (1 + erf(x / sqrt(2))) / 2.
    return (1.0 + np.asarray(_erf(differences / (2.0 * sd)), dtype=np.float64)) / 2.0


def _ratio(numerator: float | None, denominator: float) -> float | None:
    return None if numerator is None or denominator == 0.0 else numerator / denominator


def _round_to(values: Floats, grid: float) -> Floats:
    per_unit = round(1.0 / grid) if grid < 1.0 else 0
    if per_unit and math.isclose(per_unit * grid, 1.0, rel_tol=1e-9):
        return np.rint(values * per_unit) / per_unit  # the very floats that k / n gives
    return np.rint(values / grid) * grid
