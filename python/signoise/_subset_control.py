"""The verb `subset_control`: is a chosen subset of instances better than random ones of equal size?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._addresses import SUBSETS, group_addresses, random_subsets
from ._duplicates import Duplicates
from ._errors import OptionError, SchemaError
from ._instances import Instances, load_last_instances
from ._options import as_columns, check_count, check_level, signature
from ._scores import Filter, Scores
from ._status import Statuses, check_strict, flag_lists, result_column

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Random subsets whose scores are computed in one go.
_BATCH = 250
#: Relative differences that are rounding.
_ROUNDING = 1e-12
#: Whether more of a measure is better.
_MEASURES = {"decision_accuracy": True, "relative_dispersion": True, "stderr": False}


def subset_control(
    scores: Scores,
    *,
    subset: Collection[str],
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    n_resamples: int = 1000,
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Compare a chosen subset of instances with random subsets of the same size.

    Parameters
    ----------
    scores, by, where, columns, duplicates, strict, threads
        As in `snr`; instance rows are needed. The last checkpoint of each run is taken.
    subset
        Instances that were chosen, by ``instance_id``; those that a group lacks do not count there.
    order
        Column that says which checkpoint is the last; where a run lacks it, ``step``.
    n_resamples
        Random subsets of each group.
    confidence_level
        Share of the random subsets between `control_low` and `control_high`.
    rng_seed
        Of the draws.

    Returns
    -------
    DataFrame
        Three rows for each group: by-columns; ``n_runs``, ``n_instances`` that all of them have, ``n_chosen`` of these;
        ``measure``: ``decision_accuracy`` (share of pairs of runs that the subset orders as all instances do, ties one
        half), ``relative_dispersion`` (range of the runs' scores over their mean), ``stderr`` (of a run's score on the
        subset, mean over runs); its ``value`` for the chosen subset; ``control``, the mean over random subsets, with
        ``control_low, control_high``; ``p_value``, the probability that a random subset does at least as well (a lower
        ``stderr`` is better); ``n_unmatched`` instances that some run lacks, left out; ``status, flags, signature``.

    Undefined when
        Fewer than 2 runs, or fewer than 2 chosen instances (``too_few``); all instances were chosen, or all random
        subsets score the same (``constant``: p null). A mean of 0 (``zero_mean``, relative dispersion). The score is no
        plain mean of instances (``not_a_mean``).

    Notes
    -----
    Small subsets vary more than large ones whatever they hold, so that a subset is to be judged beside its equals. Give
    other runs than those it was chosen on: on the same ones any choice looks good. Draws without replacement are
    addressed by `rng_seed`, task, subtask and config, so that no other group moves them.

    References
    ----------
    Madaan et al. 2024, "Quantifying Variance in Evaluation Benchmarks", arXiv 2406.10229, section 4; Phipson and Smyth
    2010, "Permutation p-values should never be zero", SAGMB 9:39.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=12, params=(1e9,), checkpoints=1, instances=60, item_noise=0.3)
    >>> half = scores["recipe"].unique().sort()[:6]
    >>> items = sn.item_statistics(scores.filter(scores["recipe"].is_in(half.implode())))
    >>> best = items.sort("discrimination", descending=True, nulls_last=True)["instance_id"].head(20)
    >>> table = sn.subset_control(scores.filter(~scores["recipe"].is_in(half.implode())), subset=best)
    >>> table.select("measure", "n_chosen").rows()
    [('decision_accuracy', 20), ('relative_dispersion', 20), ('stderr', 20)]
    """
    check_count("n_resamples", n_resamples)
    check_count("rng_seed", rng_seed, 0)
    check_level(confidence_level)
    if isinstance(subset, str):
        raise OptionError(f"subset is a collection of instance_id, got the text {subset!r}")
    chosen = {str(item) for item in subset}
    loaded = load_last_instances(
        scores,
        verb="subset_control",
        by=as_columns(by),
        where=where,
        order=order,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    if chosen.isdisjoint(loaded.scores["instance_id"].unique().to_list()):
        raise SchemaError(f"subset: none of its {len(chosen)} instances is among the scores")
    groups = loaded.labels.unique("group", keep="first", maintain_order=True).select(
        "group", *loaded.by, "plain"
    )
    drawn = [name for name in ("task", "subtask", "config") if name in groups.columns]
    units = group_addresses(groups.select(drawn)) if drawn else np.zeros(groups.height, dtype=np.uint64)
    keys = dict(zip(groups["group"].to_list(), units.tolist(), strict=True))
    plain = set(groups.filter("plain")["group"].to_list())
    rows = [
        row
        for part in loaded.scores.partition_by("group", maintain_order=True)
        for row in _group(
            part,
            chosen,
            (rng_seed, keys[part["group"][0]]),
            n_resamples,
            confidence_level,
            plain=part["group"][0] in plain,
        )
    ]
    text = signature(
        "subset_control", order=order, n_resamples=n_resamples, rng=rng_seed, level=confidence_level
    )
    result = _result(loaded, groups, rows, text)
    check_strict(result, [*loaded.by, "measure"], strict=strict)
    return result


def _group(
    part: pl.DataFrame, chosen: set[str], key: tuple[int, int], n_resamples: int, level: float, *, plain: bool
) -> list[dict[str, Any]]:
    """A row for each measure of one group."""
    items, item = np.unique(part["instance_id"].to_numpy(), return_inverse=True)
    runs, run = np.unique(part["side"].to_numpy(), return_inverse=True)
    x = np.full((len(runs), len(items)), np.nan)
    x[run, item] = part["value"].to_numpy()
    complete = ~np.isnan(x).any(axis=0)
    x, items = x[:, complete], items[complete]
    mine = np.isin(items, list(chosen))
    size = int(mine.sum())
    common: dict[str, Any] = {
        "group": part["group"][0],
        "n_runs": len(runs),
        "n_instances": len(items),
        "n_chosen": size,
        "n_unmatched": int((~complete).sum()),
    }
    if not plain or len(runs) < 2 or size < 2:
        reason = "too_few" if plain else "not_a_mean"
        return [common | {"measure": name, "reason": reason} for name in _MEASURES]
    with np.errstate(all="ignore"):
        own = _measures(x, mine[None, :])
        batches = [_measures(x, picked) for picked in _random_subsets(len(items), size, n_resamples, key)]
    rows = []
    for name, more_is_better in _MEASURES.items():
        value = float(own[name][0])
        control = np.concatenate([batch[name] for batch in batches])
        margin = _ROUNDING * abs(value)
        as_good = control >= value - margin if more_is_better else control <= value + margin
        p = (1 + np.count_nonzero(as_good)) / (1 + n_resamples)
        with np.errstate(all="ignore"):
            flat = np.ptp(control) <= margin
            low, high = np.quantile(control, [(1 - level) / 2, (1 + level) / 2])
        numbers = {"value": value, "control": control.mean(), "control_low": low, "control_high": high}
        finite = np.isfinite([*numbers.values()]).all()
        reason = "constant" if flat else "ok" if finite else "zero_mean"
        rows.append(
            common | numbers | {"measure": name, "p_value": p if reason == "ok" else np.nan, "reason": reason}
        )
    return rows


def _random_subsets(n: int, size: int, count: int, key: tuple[int, int]) -> Iterator[Mask]:
    """Subsets of `size` of n instances, a row each, a batch at a time."""
    rng_seed, unit = key
    for block, start in enumerate(range(0, count, _BATCH)):
        rows = min(_BATCH, count - start)
        yield random_subsets(rng_seed, SUBSETS, unit, n=n, size=size, count=rows, replicate=block)


def _measures(x: Floats, picked: Mask) -> dict[str, Floats]:
    """Every measure of the subsets in the rows of `picked`, from scores of runs x instances."""
    size = int(picked[0].sum())
    weights = picked.T.astype(float)
    whole = x.mean(axis=1)
    means = x @ weights / size
    spread = x - whole[:, None]
    variance = (spread**2 @ weights - size * (means - whole[:, None]) ** 2) / (size - 1)
    first, second = np.triu_indices(len(x), 1)
    product = _order(whole[first] - whole[second], whole)[:, None] * _order(
        means[first] - means[second], means
    )
    return {
        "decision_accuracy": (0.5 + 0.5 * product).mean(axis=0),
        "relative_dispersion": np.ptp(means, axis=0) / np.abs(means.mean(axis=0)),
        "stderr": np.sqrt(np.maximum(variance, 0.0) / size).mean(axis=0),
    }


def _order(difference: Floats, scores: Floats) -> Floats:
    """Sign of differences; what rounding alone tells apart is a tie."""
    return np.where(np.abs(difference) <= _ROUNDING * np.abs(scores).max(), 0.0, np.sign(difference))


def _result(
    loaded: Instances, groups: pl.DataFrame, rows: Sequence[Mapping[str, Any]], text: str
) -> pl.DataFrame:
    counts = ("n_runs", "n_instances", "n_chosen", "n_unmatched")
    numbers = ("value", "control", "control_low", "control_high", "p_value")
    schema: dict[str, Any] = {
        "group": groups.schema["group"],
        **dict.fromkeys(counts, pl.Int64),
        "measure": pl.String,
        **dict.fromkeys(numbers, pl.Float64),
        "reason": pl.String,
    }
    table = pl.DataFrame(rows, schema=schema)
    labels = table.select("group").join(groups, on="group", maintain_order="left")
    statuses = Statuses.of(table["reason"])
    flags = {
        "mixed_config": np.full(table.height, "config" in loaded.joined),
        "unmatched": table["n_unmatched"].to_numpy() > 0,
    }
    return pl.DataFrame(
        [
            *(labels[name] for name in loaded.by),
            *(table[name] for name in ("n_runs", "n_instances", "n_chosen", "measure")),
            *(result_column(name, table[name].fill_null(np.nan).to_numpy()) for name in numbers),
            table["n_unmatched"],
            statuses.column(),
            flag_lists(flags, table.height),
        ]
    ).with_columns(pl.lit(text).alias("signature"))
