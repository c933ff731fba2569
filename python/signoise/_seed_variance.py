"""The verb `seed_variance`: how far training seeds (or repeated evaluations) of one thing scatter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._duplicates import Duplicates, settle_duplicates
from ._encode import Encoded, Series, encode
from ._errors import OptionError, SchemaError
from ._intervals import quantile_at
from ._kernels import kernels
from ._moments import instance_moments
from ._options import as_columns, check_count, check_level, signature
from ._schema import KEY, did_you_mean
from ._scores import Filter, Groups, Scores, load, note_key, rows_of, warn_notes
from ._status import Statuses, check_strict, flag_lists, result_column

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: The sd of fewer seeds is known within a factor of 3 or worse.
FEW_SEEDS = 5


def seed_variance(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] | None = None,
    order: str = "tokens",
    window: int = 1,
    ddof: int = 1,
    continuous: Mapping[str, str] | None = None,
    confidence_level: float = 0.95,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Mean and spread over seeds of each recipe, and their ratio for a metric and its continuous version.

    Parameters
    ----------
    scores, by, where, order, groups, columns, duplicates, strict, threads
        As in `snr`.
    across
        What is trained several times: runs of one (and of one size) differ by their seed alone. Default ``recipe``
        where it is filled, else ``run`` (its seeds told apart by the column ``seed``).
    window
        The score of a run is the mean of its last `window` checkpoints; by default the last one.
    ddof
        Divisor n - ddof of `sd`.
    continuous
        ``{"acc": "correct_prob"}``: for metrics that count right and wrong, the metric whose ratio stands beside
        theirs.
    confidence_level
        Of the limits.

    Returns
    -------
    DataFrame
        A row for each group and recipe: by-columns and those of `across` (with ``params`` where it is filled);
        ``n_seeds``; ``mean`` and ``sd`` over them, score units, with ``mean_low, mean_high, sd_low, sd_high``;
        ``range``; ``snr_mean_over_std``, which is mean/sd; with `continuous` ``continuous`` (the metric),
        ``snr_continuous`` and ``snr_gain`` (that over ``snr_mean_over_std``); ``stderr_items``, the mean over seeds of
        the standard error over instances of the last checkpoint, from instance rows or as its tool reports it;
        ``n_missing, n_nan`` of the group, ``status, flags, signature``.

    Undefined when
        Fewer than 2 seeds (``too_few``: spread null). All scores equal (``constant``: ratio and limits null).

    Notes
    -----
    The ratio is the "SNR" of Madaan et al., which says how many standard deviations a score lies from 0. It is not
    `snr`, which compares models, and it favours metrics with a high floor: compare it between versions of one metric
    only. ``stderr_items`` is what one evaluation alone shows; `sd` holds seeds, checkpoints and generations, but not
    the choice of instances. `variance` takes it apart. Limits: Student's t and chi-square, for normal scores.

    References
    ----------
    Madaan et al. 2024, "Quantifying Variance in Evaluation Benchmarks", arXiv 2406.10229, section 3.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=3, seeds=5, params=(1e9,), seed_noise=0.01)
    >>> table = sn.seed_variance(scores)
    >>> table.select("recipe", "n_seeds").rows()
    [('recipe-00', 5), ('recipe-01', 5), ('recipe-02', 5)]
    """
    check_count("window", window)
    check_count("ddof", ddof, 0)
    check_level(confidence_level)
    by = as_columns(by)
    if continuous and "metric" not in by:
        raise OptionError("continuous compares metrics: keep metric in by")
    wanted = as_columns(across) if across else ("recipe", "run")
    use = [*by, *wanted, order]
    rows, _ = rows_of(scores, columns, where, use, strict=strict, threads=threads, instances=True)
    table = load(
        rows,
        groups=groups,
        use=use,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    frame = table.frame if groups else _with_stderr(table.frame, rows, duplicates, threads)
    filled = "recipe" in frame.columns and not frame["recipe"].null_count()
    members = wanted if across else wanted[:1] if filled else wanted[1:]
    encoded = encode(frame, by=by, members=members, order=order, duplicates=duplicates)
    warn_notes(table.notes)
    note_key(encoded, by)
    output = _rows(encoded, encoded.series(window, threads=threads), members, window, ddof, confidence_level)
    if continuous:
        output = _beside(output, continuous, [*encoded.by, *members])
    text = signature(
        "seed_variance",
        across=members,
        order=order,
        window=window,
        ddof=ddof,
        continuous=",".join(f"{a}={b}" for a, b in continuous.items()) if continuous else None,
        level=confidence_level,
    )
    output = output.with_columns(pl.lit(text).alias("signature"))
    check_strict(output, [*encoded.by, *members], strict=strict)
    return output


def _with_stderr(
    frame: pl.DataFrame, rows: pl.DataFrame, duplicates: Duplicates, threads: int | None
) -> pl.DataFrame:
    """Scores with the standard errors of those that are means of instances."""
    if "instance_id" not in rows.columns or rows["instance_id"].null_count() == rows.height:
        return frame
    instances, _ = settle_duplicates(rows.filter(pl.col("instance_id").is_not_null()), duplicates)
    key = [name for name in KEY if name in frame.columns]
    moments = instance_moments(instances, key, threads=threads)
    own = moments.select(*key, (pl.col("variance") / pl.col("n")).sqrt().alias("__stderr"))
    known = [name for name in ("stderr",) if name in frame.columns]
    return (
        frame.join(own, on=key, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(pl.coalesce(*known, "__stderr").alias("stderr"))
        .drop("__stderr")
    )


def _rows(
    encoded: Encoded, series: Series, members: Sequence[str], window: int, ddof: int, level: float
) -> pl.DataFrame:
    """Groups x members in lexical order."""
    size = [
        name for name in ("params",) if name in encoded.heads.columns and name not in (*encoded.by, *members)
    ]
    names = [name for name in members if name not in encoded.by] + size
    labels = (
        encoded.heads[series.block]
        .select(names)
        .with_columns(
            group=pl.Series(series.group),
            score=pl.Series(series.columns["mean"]),
            stderr=_last_stderr(encoded, series),
        )
    )
    labels = labels.with_columns(n=pl.Series(series.columns["n"].astype(np.int64)))
    # Lexical order of what is left when labels agree: the order of the series is canonical already.
    labels = labels.sort("group", *names, maintain_order=True)
    starts = labels.select(pl.struct("group", *names).rank("dense")).to_series().to_numpy()
    first = np.flatnonzero(np.diff(starts, prepend=0))
    offsets = np.append(first, labels.height).astype(np.uintp)
    found = kernels().segment_moments(labels["score"].to_numpy(), offsets)
    errors = kernels().segment_moments(labels["stderr"].to_numpy(), offsets)
    n = found["n"].astype(float)
    df = np.maximum(n - 1, 0)
    with np.errstate(all="ignore"):
        sd = np.where(n > max(ddof, 1), np.sqrt(found["m2"] / (n - ddof)), np.nan)
        unbiased = np.where(n >= 2, np.sqrt(found["m2"] / (n - 1)), np.nan)
        spread = np.where(unbiased > 0, unbiased, np.nan)
        known = np.where(np.isnan(spread), np.nan, df)
        half = quantile_at("t_quantile", (1 + level) / 2, known) * spread / np.sqrt(n)
        limits = [
            spread * np.sqrt(known / quantile_at("chi2_quantile", p, known))
            for p in ((1 + level) / 2, (1 - level) / 2)
        ]
        ratio = np.where(sd > 0, found["mean"] / sd, np.nan)
    group = labels["group"].to_numpy()[first]
    fewest = np.minimum.reduceat(labels["n"].to_numpy(), first) if len(first) else np.zeros(0, dtype=np.int64)
    statuses = Statuses(len(first))
    statuses.set("duplicate_key", encoded.conflicts[group])
    statuses.set("too_few", n < 2)
    statuses.set("constant", (n >= 2) & (found["m2"] == 0))
    statuses.check_finite(~np.isfinite(found["mean"]))
    left_out = encoded.n_missing + encoded.n_nan
    flags = {
        "few_checkpoints": fewest < window,
        "missing_values": (left_out > 0)[group],
        "few_seeds": (n >= 2) & (n < FEW_SEEDS),
    }
    numbers: dict[str, Any] = {
        "n_seeds": found["n"].astype(np.int64),
        "mean": found["mean"],
        "mean_low": found["mean"] - half,
        "mean_high": found["mean"] + half,
        "sd": sd,
        "sd_low": limits[0],
        "sd_high": limits[1],
        "range": np.where(n >= 2, found["max"] - found["min"], np.nan),
        "snr_mean_over_std": ratio,
        "stderr_items": errors["mean"],
        "n_missing": encoded.n_missing[group],
        "n_nan": encoded.n_nan[group],
    }
    statuses.blank(numbers, "duplicate_key")
    return pl.DataFrame(
        [
            *(encoded.groups[name][group] for name in encoded.by),
            *(labels[name][first] for name in names),
            *(result_column(name, values) for name, values in numbers.items()),
            statuses.column(),
            flag_lists(flags, len(first)),
        ]
    )


def _last_stderr(encoded: Encoded, series: Series) -> pl.Series:
    """Standard error over instances at the last checkpoint of each series; NaN where it is unknown."""
    if encoded.stderr is None:
        return pl.Series(np.full(len(series), np.nan))
    rows = np.where(encoded.usable, np.arange(len(encoded.usable)), -1)
    last = np.maximum.reduceat(rows, encoded.starts[:-1])[series.block]
    return pl.Series(np.where(np.isfinite(encoded.stderr[last]), encoded.stderr[last], np.nan))


def _beside(table: pl.DataFrame, continuous: Mapping[str, str], key: Sequence[str]) -> pl.DataFrame:
    """The ratio of each metric's continuous version beside its own."""
    known = table["metric"].unique().drop_nulls().to_list()
    for name in [*continuous, *continuous.values()]:
        if name not in known:
            raise SchemaError(
                f"continuous: there are no scores of metric {name!r}{did_you_mean(name, known)}"
            )
    # Scorers and filters of two metrics may differ; what is scored may not.
    shared = [name for name in dict.fromkeys([*key, "params"]) if name in table.columns]
    on = [name for name in shared if name not in ("metric", "filter")]
    other = table.select(
        *on, pl.col("metric").alias("continuous"), pl.col("snr_mean_over_std").alias("snr_continuous")
    )
    beside = (
        table.select(*on, pl.col("metric").replace_strict(dict(continuous), default=None).alias("continuous"))
        .with_row_index("__row")
        .join(other, on=[*on, "continuous"], how="left", nulls_equal=True, maintain_order="left")
    )
    if beside.height > table.height:
        raise OptionError(
            "continuous: several scores of a metric differ in filter alone; filter one (where=...)"
        )
    gain = beside["snr_continuous"] / table["snr_mean_over_std"]
    at = table.columns.index("snr_mean_over_std") + 1
    new = [beside["continuous"], beside["snr_continuous"], gain.alias("snr_gain")]
    columns = table.get_columns()
    return pl.DataFrame([*columns[:at], *new, *columns[at:]])
