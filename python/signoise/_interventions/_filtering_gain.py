"""The verb `filtering_gain`: what choosing subtasks is worth on scores that they were not chosen on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import Duplicates
from .._errors import OptionError
from .._measure import FEW_MEMBERS
from .._options import check_count, check_level, signature
from .._scores import Filter, Groups, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._cross_fit import Gains, cross_fit
from ._cube import Cube
from ._halves import Plan, Recipe
from ._items import Items, items_of
from ._jackknife import t_margin, t_p_value
from ._study import Study, check_settings, open_study

Floats = NDArray[np.float64]

AGAINST = ("full", "random")


def filtering_gain(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    groups: Groups = None,
    rules: str | Sequence[str] = ("snr", "greedy", "backward"),
    sizes: int | Sequence[int] | None = None,
    how: Literal["macro", "micro"] = "macro",
    score: Literal["mean", "final"] = "mean",
    noise: Literal["within", "mean_sd"] = "within",
    population: Filter = None,
    noise_runs: Filter = None,
    relative: bool = True,
    split_checkpoints: bool | None = None,
    gap: int = 1,
    split_instances: bool = False,
    cluster: str | None = None,
    across: str | Sequence[str] = "run",
    order: str = "tokens",
    window: int = 5,
    ddof: int = 1,
    n_splits: int = 20,
    n_random: int = 10,
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """What choosing subtasks gains in SNR on scores that the choice was not made on.

    Everything that enters the SNR is split in two. A rule chooses on one half; on the other the union that it chose is
    compared with all subtasks, and with random unions of equal size: ``log SNR(chosen) - log SNR(other)``, both with
    the same members, since the range grows with their number. Then the halves change places, and all is repeated.

    Parameters
    ----------
    scores, by, where, score, population, noise_runs, relative, across, order, window, columns, duplicates, strict
        As in `snr`.
    groups, rules, how, noise, ddof, threads
        As in `filter_subtasks`.
    sizes
        Fixed numbers of subtasks to choose, beside ``"best"``: the number whose SNR is largest where the choice is
        made. Default: a quarter and a half of the subtasks.
    split_checkpoints
        Split the noise by two blocks of each run's checkpoints, drawn anew in each split (after the last comes the
        first). Default: only where the noise is not that of the members' own runs, which are split with the members.
        ``True`` also where checkpoints of different runs may err alike.
    gap
        Checkpoints left out between blocks: neighbours resemble each other.
    split_instances
        Split the instances of each subtask too, whose rows (or store) are needed: the gain is then about other
        instances as well. Without it, it is about these.
    cluster
        What makes instances dependent; clusters stay whole. As in `compare`.
    n_splits
        Random splits; each is used in both directions.
    n_random
        Random unions of each size in each split.
    confidence_level
        Of ``low, high``.
    rng_seed
        Of splits and random unions.

    Returns
    -------
    DataFrame
        Rows for each benchmark, rule, size (``"best"`` or a number) and what the chosen are compared with (`against`:
        ``"full"``, ``"random"``): by-columns; ``rule, size, against``; ``n_subtasks``, mean number chosen; ``gain``
        out of sample (difference of natural logarithms), its limits ``low, high``, ``gain_factor`` (exp of it);
        ``p_value`` of no gain (two-sided); ``gain_in_sample``, the same where all scores choose and judge, with
        ``n_subtasks_in_sample``; ``optimism``, by how much it is larger; ``n_subtasks_all``; ``n_members`` of a half;
        ``n_halves`` whose difference is defined, of 2 n_splits; ``status, flags, signature``.

    Undefined when
        A half has fewer than 2 members, or too few checkpoints for noise (``too_few``: blocks take ``2 gap + 4`` of a
        run, at the default ``ddof``); no half has an SNR above 0 (``not_finite``). Undefined numbers are null, never 0.

    Notes
    -----
    ``gain`` is that of the rule applied to half as many members (checkpoints, instances): a rule that sees all of
    them chooses better, so that it errs on the low side for what is chosen on everything. ``gain_in_sample`` is what
    the curve of `filter_subtasks` shows.

    ``low, high``: gain -+ t stderr, with t of J - 1 degrees of freedom for J members and the larger of two standard
    errors: the root mean square of half the difference between the two halves of a split, which are judged on
    different data; and the standard deviation over splits times sqrt(1 + 1/n_splits), the correction of Nadeau and
    Bengio for equal halves (overlapping splits err together). Either alone covers less where the other is the larger
    (.68 and .93 at the worst). They are about other members, checkpoints (and instances) like these; the subtasks are
    the given ones. Simulated coverage .93 to 1.00 (8 to 25 members, 10 to 40 subtasks, with and without differences
    between them): conservative, more so with `split_instances`. Without any differences between independent subtasks
    ``low`` is above 0 in about 1 % of suites, a row. Rows are not adjusted for their number.

    Members that are near copies of each other (sizes of two families, seeds of one recipe) stand in both halves and
    make the gain look better than it is: give `across` a column whose values are the independent ones.

    References
    ----------
    Nadeau and Bengio 2003, "Inference for the generalization error", Machine Learning 52. The study behind the numbers
    above is ``benches/study_selection.py``.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=6, recipes=12, params=1e9, signal=[0.04] * 3 + [0.005] * 3)
    >>> table = sn.filtering_gain(scores, groups={"suite": "task-*"}, rules="snr", sizes=3)
    >>> table.select("size", "against", "n_members").rows()[0]
    ('best', 'full', 6)
    """
    check_level(confidence_level)
    check_count("n_splits", n_splits, 2)
    check_count("gap", gap, 0)
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
    asked = None if sizes is None else _checked_sizes(sizes)
    study = open_study(
        scores,
        settings,
        by=by,
        where=where,
        split_instances=split_instances,
        cluster=cluster,
        groups=groups,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    items = _items(study, n_splits, rng_seed)
    parts = []
    for cube, unit, own in zip(study.cubes, study.units(), items, strict=True):
        recipe = study.recipe(cube)
        blocks = not recipe.own_noise if split_checkpoints is None else split_checkpoints
        if not blocks and not recipe.own_noise:
            raise OptionError(
                "split_checkpoints=False: the noise is not that of the members' own runs, so that only their "
                "checkpoints can be split"
            )
        plan = Plan(n_splits, blocks, gap, (rng_seed, unit))
        parts.append(_rows(study, cube, recipe, plan, asked, own, confidence_level))
    text = signature(
        "filtering_gain",
        **settings.for_signature(),
        split_checkpoints="auto" if split_checkpoints is None else split_checkpoints,
        gap=gap,
        split_instances=split_instances,
        cluster=cluster,
        n_splits=n_splits,
        interval="cross_fit",
        level=confidence_level,
    )
    result = pl.concat(parts).with_columns(pl.lit(text).alias("signature"))
    check_strict(result, [*study.by, "rule", "size", "against"], strict=strict)
    return result


def _checked_sizes(sizes: int | Sequence[int]) -> tuple[int, ...]:
    found = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    for size in found:
        check_count("sizes", size)
    return tuple(dict.fromkeys(found))


def _items(study: Study, n_splits: int, rng_seed: int) -> Sequence[Items | None]:
    if study.source is None:
        return [None] * len(study.cubes)
    names = ["population", *(name for name in ("noise",) if any(name in cube.sides for cube in study.cubes))]
    return items_of(
        study.cubes, study.encoded, study.rows, study.source, names, study.subtask_units(), n_splits, rng_seed
    )


def _sizes_of(asked: tuple[int, ...] | None, size: int, label: Mapping[str, object]) -> dict[str, int | None]:
    """Size policies by name, for a benchmark of `size` subtasks."""
    if asked is None:
        fixed = [-(-size // 4), -(-size // 2)]
    else:
        if max(asked, default=0) > size:
            named = ", ".join(str(value) for value in label.values())
            raise OptionError(f"sizes must be at most the {size} subtasks of {named}, got {max(asked)}")
        fixed = list(asked)
    return {"best": None} | {str(k): k for k in fixed}


def _rows(
    study: Study,
    cube: Cube,
    recipe: Recipe,
    plan: Plan,
    asked: tuple[int, ...] | None,
    items: Items | None,
    level: float,
) -> pl.DataFrame:
    """Rows of one benchmark."""
    settings, size = study.settings, len(cube.subtasks)
    sizes = _sizes_of(asked, size, cube.group)
    cells = [(rule, name) for rule in settings.rules for name in sizes]
    enough = _enough(recipe, plan)
    numbers = {name: np.full(2 * len(cells), np.nan) for name in _NUMBERS}
    n_halves = np.zeros(2 * len(cells), dtype=np.int64)
    if enough:
        # What overflows becomes null with a status, not NumPy's warnings.
        with np.errstate(all="ignore"):
            found = cross_fit(
                recipe, study.weights(cube), settings.rules, sizes, plan, settings.n_random, items
            )
        for place, cell in enumerate(cells):
            for against in range(2):
                row = 2 * place + against
                values, n_halves[row] = _estimate(found[cell], against, recipe.n_members, level)
                for name, value in values.items():
                    numbers[name][row] = value
    statuses = Statuses(2 * len(cells))
    statuses.set("too_few", np.full(2 * len(cells), not enough))
    statuses.check_finite(~np.isfinite(numbers["gain"]))
    labels: dict[str, Any] = {name: [value] * (2 * len(cells)) for name, value in cube.group.items()}
    labels["rule"] = np.repeat([rule for rule, _ in cells], 2)
    labels["size"] = np.repeat([name for _, name in cells], 2)
    labels["against"] = list(AGAINST) * len(cells)
    flags = {name: np.full(2 * len(cells), up) for name, up in study.flags(cube).items()}
    flags["few_members"] = np.full(2 * len(cells), recipe.n_members // 2 < FEW_MEMBERS)
    schema = study.encoded.groups.schema
    return pl.DataFrame(labels, schema_overrides={name: schema[name] for name in cube.group}).with_columns(
        *(result_column(name, values) for name, values in numbers.items()),
        pl.Series("n_subtasks_all", [size] * (2 * len(cells))),
        pl.Series("n_members", [recipe.n_members // 2] * (2 * len(cells))),
        pl.Series("n_halves", n_halves),
        statuses.column(),
        flag_lists(flags, 2 * len(cells)),
    )


_NUMBERS = (
    "n_subtasks",
    "gain",
    "low",
    "high",
    "gain_factor",
    "p_value",
    "gain_in_sample",
    "n_subtasks_in_sample",
    "optimism",
)


def _enough(recipe: Recipe, plan: Plan) -> bool:
    """Halves have two members and, where checkpoints are split, two of them for the noise."""
    counts = np.diff(recipe.noise.starts)
    if recipe.n_members < 4 or not len(counts):
        return False
    least = max(2, recipe.ddof + 1)
    if plan.blocks:
        return bool(counts.min() >= 2 * (least + plan.gap))
    return bool(counts.max() >= least)


def _estimate(gains: Gains, against: int, members: int, level: float) -> tuple[dict[str, float], int]:
    """Numbers of one row and how many halves they rest on."""
    values = gains.out_of_sample[against]
    in_sample = float(gains.in_sample[against])
    out = {
        "n_subtasks": float(gains.sizes.mean()),
        "n_subtasks_in_sample": float(gains.whole_size),
        "gain_in_sample": in_sample,
    }
    n_halves = int(np.isfinite(values).sum())
    if not n_halves:
        return out, 0
    gain = float(np.nanmean(values))
    out |= {"gain": gain, "gain_factor": float(np.exp(gain)), "optimism": in_sample - gain}
    if (stderr := standard_error(values)) is not None:
        n, error = np.array([members], dtype=np.intp), np.array([stderr])
        margin = float(t_margin(error, n, level)[0])
        out |= {"low": gain - margin, "high": gain + margin}
        if stderr > 0:
            out["p_value"] = float(t_p_value(np.array([gain]), error, n)[0])
    return out, n_halves


def standard_error(values: Floats) -> float | None:
    """Of the mean over splits and both of their halves, (n_splits, 2); None where fewer than 2 splits are defined.

    The larger of two estimates. Halves of one split are judged on different data: half their difference errs as their
    mean does. Where the choice changes from split to split, the spread of the splits is larger; they overlap, so that
    their mean errs as one of them.
    """
    whole = values[np.isfinite(values).all(axis=1)]
    if len(whole) < 2:
        return None
    between_halves = np.mean((whole[:, 0] - whole[:, 1]) ** 2) / 4
    between_splits = whole.mean(axis=1).var(ddof=1) * (1 + 1 / len(whole))
    return float(np.sqrt(max(between_halves, between_splits)))
