"""The verb `clustering_on_difficulty`: the accuracy of a larger model from instances that follow a law of compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._chance import chance_level
from .._duplicates import Duplicates, settle_duplicates
from .._encode import mixed
from .._errors import OptionError, SchemaError
from .._metrics import is_accuracy
from .._moments import with_usable
from .._options import as_columns, check_choice, check_count, signature
from .._schema import KEY, RUN_IDENTITY, SCORE_IDENTITY, as_expression, did_you_mean, predicate
from .._scores import Filter, Scores, load_instances, no_instances, warn_joined, warn_notes
from .._status import Statuses, check_strict, flag_lists, result_column
from ._difficulty_clusters import ALONE, Found, Plan, cluster_models, law_at
from ._log_compute import log_compute

Floats = NDArray[np.float64]

Per = Literal["prediction", "cluster", "item"]
#: Distinct amounts of compute that a law needs: its three free parameters, and two to judge it by.
LEAST_MODELS = 5
#: Instances below which a share says little.
FEW_INSTANCES = 50
_FLOATS = ("flops", "extrapolation", "score", "predicted", "error", "whole", "whole_error", "subset")
_COUNTS = ("n_models", "n_instances", "n_clusters", "n_predictable", "n_unmatched")


def clustering_on_difficulty(
    scores: Scores,
    *,
    at: float | Sequence[float] = (),
    hold_out: int = 3,
    per: Per = "prediction",
    compute: str | None = None,
    calibration: Filter = None,
    radius: float = 0.1,
    min_instances: int = 10,
    bins: int | None = None,
    min_rise: float = 0.1,
    min_explained: float = 0.7,
    chance: float | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Predict a benchmark at more compute by way of its predictable instances (clustering on difficulty).

    Instances whose pass rates over models are alike make a cluster; the law ``g + (1 - g) exp(-a C^-b - c)`` is fitted
    to the mean of each; clusters that rise by law are extrapolated, and their mean is mapped back to that of all.

    Parameters
    ----------
    scores, by, where, columns, duplicates, strict, threads
        As in `snr`; instance rows with scores from 0 to 1 are needed. Every checkpoint that `where` leaves is a model.
    at
        Compute to predict at.
    hold_out
        Models of most compute that are predicted, each from all of less compute.
    per
        What a row is: a ``"prediction"``; a ``"cluster"`` or an ``"item"``, found from all models.
    compute
        Column of compute. Default: ``flops`` where it is filled, else 6 x params x tokens.
    calibration
        Rows of other models, whose compute need not be known: they have a say in the way back to all instances alone.
    radius
        How far from the mode of its cluster an instance may be (root mean square over models). Of one sample an
        instance, rates are 0 and 1 and noise alone is .5 at most: take repeats, `bins`, or a larger radius.
    min_instances
        Of a cluster.
    bins
        Clusters are of means over so many bins of neighbouring models in the place of single models.
    min_rise, min_explained
        A cluster is ``predictable`` where its law rises by at least so much over the known models, and explains at
        least such a share of the variance of its mean; else it is ``flat`` or ``irregular``.
    chance
        Guess rate g. Default: that of well-known tasks in accuracies, else 0.

    Returns
    -------
    DataFrame
        For ``per="prediction"`` a row for each target: by-columns; ``run`` (null for `at`), ``flops`` (its compute),
        ``extrapolation`` (over the most compute known); ``score`` of all instances (null for `at`); ``predicted`` by
        way of clusters, ``error`` (predicted - score); ``whole``, the same law fitted to the mean of all instances,
        ``whole_error``; ``subset``, what is predicted for the predictable instances; ``n_models`` known,
        ``n_instances, n_clusters, n_predictable`` instances, ``n_unmatched`` instances left out as some model lacks
        them.

        For ``per="cluster"``: ``cluster`` (0 is the largest), ``kind``, ``n_instances``; ``first, last`` mean pass rate
        at least and most compute; ``a, b, c``; ``limit`` at endless compute; ``explained``.

        For ``per="item"``: ``instance_id, cluster`` (null in none), ``kind`` (``unclustered`` in none), ``score`` (mean
        pass rate).

        Last ``status, flags, signature``.

    Undefined when
        Fewer than 5 models of different compute are known, or no instance is shared (``too_few``: no prediction); no
        cluster is predictable (``not_identified``: ``predicted`` null, ``whole`` stays); the law has no fit
        (``not_converged``).

    Raises
    ------
    SchemaError
        No instances, no compute, scores outside 0 to 1.
    OptionError
        A number out of its range.

    Notes
    -----
    There is no interval: what matters is whether the form holds beyond the data, and that is what ``error`` beside
    ``whole_error`` of the models held out shows. Clusters are found from the pass rates that they are then fitted to;
    with few samples an instance the mean of a cluster at the models that made it is too good or too bad by chance, and
    falls back at the next: simulated with one sample, predictions by way of clusters are worse than those of the whole
    (docs/items.md). The way back is a line or a curve through (1, 1) of up to fourth order, whichever foretold the
    larger of the known models best.

    References
    ----------
    Xu et al. 2025, arXiv 2502.17262 (clustering on difficulty; the equation of the law and the order of the way back
    unverified); Comaniciu and Meer 2002 (mean shift).

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> rows = [
    ...     (f"m{size}", 10.0**size, "t", "acc", f"{item}", 2.718 ** -((10.0 ** (20 + item % 2) / 10.0**size) ** 0.4))
    ...     for size in range(18, 25) for item in range(60)
    ... ]
    >>> names = ["run", "flops", "task", "metric", "instance_id", "value"]
    >>> table = pl.DataFrame(rows, schema=names, orient="row")
    >>> found = sn.clustering_on_difficulty(table, hold_out=1, at=1e26)
    >>> found.select("run", pl.col("predicted", "whole").round(3), "n_clusters").rows()
    [('m24', 0.957, 0.951, 2), (None, 0.993, 0.991, 2)]
    """
    check_choice("per", per, ("prediction", "cluster", "item"))
    check_count("hold_out", hold_out, 0)
    check_count("min_instances", min_instances, 2)
    if bins is not None:
        check_count("bins", bins)
    for name, value, high in (
        ("radius", radius, 1.0),
        ("min_rise", min_rise, 1.0),
        ("min_explained", min_explained, 1.0),
        ("chance", 0.0 if chance is None else chance, 0.999),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high:
            raise OptionError(f"{name} must be from 0 to {high:g}, got {value!r}")
    targets = np.atleast_1d(np.asarray(at, dtype=np.float64))
    if not (np.isfinite(targets) & (targets > 0)).all():
        raise OptionError(f"at must be compute above 0, got {at!r}")
    loaded = _load(
        scores,
        as_columns(by),
        where,
        compute,
        calibration,
        columns,
        duplicates,
        strict=strict,
        threads=threads,
    )
    tables = []
    for label, models in loaded.groups():
        level = _guess_rate(label) if chance is None else float(chance)
        plan = Plan(float(radius), min_instances, bins, float(min_rise), float(min_explained), level, threads)
        rows = _ROWS[per](models, plan, hold_out, targets)
        tables.append(
            pl.concat([label] * rows.height).hstack(rows) if rows.height else label.clear().hstack(rows)
        )
    text = signature(
        "clustering_on_difficulty",
        per=per,
        compute=loaded.compute,
        hold_out=hold_out,
        radius=radius,
        min_instances=min_instances,
        bins=bins,
        min_rise=min_rise,
        min_explained=min_explained,
        chance=chance,
        calibration=None if calibration is None else str(calibration),
    )
    result = pl.concat(tables).with_columns(pl.lit(text).alias("signature"))
    key = {"prediction": ["run", "flops"], "cluster": ["cluster"], "item": ["instance_id"]}[per]
    check_strict(result, [*loaded.by, *key], strict=strict)
    return result


# --- models -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Models:
    """Pass rates of the instances that all models have (rows) at models (columns) by compute."""

    runs: list[str]
    compute: Floats
    items: list[str]
    rates: Floats
    others: Floats
    """The same of models that calibrate alone."""
    n_unmatched: int
    flags: dict[str, bool]

    def below(self, compute: float) -> int:
        """Models of less compute."""
        return int(np.searchsorted(self.compute, compute, side="left"))

    def found(self, n: int, plan: Plan) -> Found | None:
        """What the first n models say; None where they are too few."""
        if len(np.unique(self.compute[:n])) < LEAST_MODELS or not len(self.items):
            return None
        return cluster_models(self.rates[:, :n], self.compute[:n], self.others, plan)


@dataclass(frozen=True)
class _Loaded:
    rows: pl.DataFrame
    by: tuple[str, ...]
    joined: tuple[str, ...]
    compute: str

    def groups(self) -> Iterator[tuple[pl.DataFrame, _Models]]:
        """Each group's label as one row, and its models."""
        parts = self.rows.partition_by(self.by, maintain_order=True) if self.by else [self.rows]
        for part in parts:
            yield part.select(self.by).head(1), self._models(part)

    def _models(self, part: pl.DataFrame) -> _Models:
        wide = part.pivot("__model", index="instance_id", values="value", sort_columns=False).sort(
            "instance_id"
        )
        matched = wide.drop_nulls()
        about = part.unique("__model", maintain_order=True).sort("__compute", "__model")
        own, others = about.filter(~pl.col("__calibrates")), about.filter("__calibrates")

        def rates(models: pl.DataFrame) -> Floats:
            names = models["__model"].cast(pl.String).to_list()
            return (
                np.array([matched[name].to_numpy() for name in names]).reshape(len(names), matched.height).T
            )

        flags = {
            "missing_values": bool(part["__gaps"].any()),
            "mixed_config": "config" in self.joined,
            "few_instances": matched.height < FEW_INSTANCES,
        }
        return _Models(
            own["run"].to_list(),
            own["__compute"].to_numpy(),
            matched["instance_id"].to_list(),
            rates(own),
            rates(others),
            wide.height - matched.height,
            flags,
        )


def _load(
    scores: Scores,
    by: Sequence[str],
    where: Filter,
    compute: str | None,
    calibration: Filter,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    *,
    strict: bool,
    threads: int | None,
) -> _Loaded:
    """Instance rows with their group, model and compute; repeats averaged."""
    place = ["flops", "params", "tokens"] if compute is None else [compute]
    filters = [] if calibration is None else [as_expression(calibration, "calibration")]
    rows, notes = load_instances(
        scores,
        columns=columns,
        where=where,
        use=[*by, *RUN_IDENTITY, *place, *filters],
        strict=strict,
        threads=threads,
    )
    if "instance_id" not in rows.columns or rows["instance_id"].null_count() == rows.height:
        raise SchemaError(no_instances("clustering_on_difficulty is about instances"))
    for name in by:
        if name not in rows.columns:
            raise SchemaError(f"by: the table has no column {name!r}{did_you_mean(name, rows.columns)}")
    rows, settled = settle_duplicates(rows, duplicates)
    warn_notes([*notes, *settled])
    candidates = [name for name in SCORE_IDENTITY if name in rows.columns and name not in by]
    joined = mixed(rows.select(*by, *candidates).unique(), by, candidates)
    key = (*by, *joined)
    calibrates = predicate(calibration, "calibration", rows.schema)
    rows = rows.with_columns(
        (pl.lit(value=False) if calibrates is None else calibrates.fill_null(value=False)).alias(
            "__calibrates"
        )
    )
    logarithm, name = log_compute(rows.filter(~pl.col("__calibrates")), compute)
    checkpoint = [
        c for c in (*RUN_IDENTITY, "revision", "step", "tokens", "flops") if c in rows.columns and c in KEY
    ]
    rows = with_usable(rows)
    usable = pl.col("__usable")
    wrong = rows.filter(usable & ~pl.col("value").is_between(0.0, 1.0))
    if wrong.height:
        raise SchemaError(
            f"clustering_on_difficulty takes scores from 0 to 1, got {wrong['value'][0]:g} ({wrong.height} such); "
            "name a metric of right and wrong (where=\"metric = 'acc'\")"
        )
    averaged = (
        rows.with_columns(
            logarithm.exp().alias("__compute"), pl.struct(checkpoint).rank("dense").alias("__model")
        )
        .with_columns((~usable).any().over(*key, "__model").alias("__gaps"))
        .filter(usable)
        .sort(
            *key, "__model", "instance_id", *(["repeat"] if "repeat" in rows.columns else []), nulls_last=True
        )
        .group_by(*key, "__model", "instance_id", maintain_order=True)
        .agg(
            pl.col("value").mean(),
            pl.col("run", "__compute", "__calibrates", "__gaps").first(),
        )
    )
    if joined:
        warn_joined(averaged.select(key).unique(), joined, by)
    return _Loaded(averaged, key, joined, name)


def _guess_rate(label: pl.DataFrame) -> float:
    """The chance level of a well-known task in an accuracy, else 0."""
    if not {"task", "metric"} <= set(label.columns):
        return 0.0
    task, metric = label["task"][0], label["metric"][0]
    level = chance_level(task) if task is not None and metric is not None and is_accuracy(metric) else None
    return 0.0 if level is None else level


# --- rows -------------------------------------------------------------------------------------------


def _predictions(models: _Models, plan: Plan, hold_out: int, targets: Floats) -> pl.DataFrame:
    """A row for each model held out, and for each target."""
    held = np.arange(max(0, len(models.runs) - hold_out), len(models.runs))
    places = np.concatenate([models.compute[held], targets])
    known = [models.below(float(place)) for place in places[: len(held)]] + [len(models.runs)] * len(targets)
    seen = {n: models.found(n, plan) for n in dict.fromkeys(known)}
    numbers = {name: np.full(len(places), np.nan) for name in _FLOATS}
    counts = {name: np.zeros(len(places), dtype=np.int64) for name in _COUNTS}
    numbers["flops"] = places
    if len(models.items):
        numbers["score"][: len(held)] = models.rates[:, held].mean(axis=0)
    lost, blind = np.zeros((2, len(places)), dtype=bool)
    for row, (place, n) in enumerate(zip(places, known, strict=True)):
        found, here = seen[n], np.array([place])
        counts["n_models"][row] = n
        if n:
            numbers["extrapolation"][row] = max(1.0, place / models.compute[n - 1])
        if found is None:
            lost[row] = True
            continue
        counts["n_clusters"][row], counts["n_predictable"][row] = len(found.clusters), len(found.predictable)
        numbers["subset"][row], numbers["predicted"][row] = found.subset(here)[0], found.full(here)[0]
        numbers["whole"][row] = law_at(found.whole, here)[0]
        blind[row] = not len(found.predictable)
    counts["n_instances"][:], counts["n_unmatched"][:] = len(models.items), models.n_unmatched
    numbers["error"] = numbers["predicted"] - numbers["score"]
    numbers["whole_error"] = numbers["whole"] - numbers["score"]
    statuses = Statuses(len(places))
    statuses.set("too_few", lost)
    statuses.set("not_identified", blind)
    statuses.set("not_converged", np.isnan(numbers["predicted"]))
    names = [models.runs[index] for index in held] + [None] * len(targets)
    return pl.DataFrame(
        [
            pl.Series("run", names, dtype=pl.String),
            *(result_column(name, numbers[name]) for name in _FLOATS),
            *(pl.Series(name, counts[name]) for name in _COUNTS),
            statuses.column(),
            _flags(models, len(places)),
        ]
    )


def _clusters(models: _Models, plan: Plan, *_: Any) -> pl.DataFrame:
    """A row for each cluster of all models."""
    found = models.found(len(models.runs), plan)
    clusters = [] if found is None else found.clusters
    estimates = np.array([one.fit.estimates for one in clusters]).reshape(-1, 4)
    curves = [one.curve for one in clusters]
    residues = [
        1
        - ((one.curve - one.fit.fitted) ** 2).sum() / max(((one.curve - one.curve.mean()) ** 2).sum(), 1e-300)
        if one.fit.found and np.ptp(one.curve) > 0
        else np.nan
        for one in clusters
    ]
    statuses = Statuses(len(clusters))
    statuses.set("not_converged", np.isnan(estimates).any(axis=1))
    limit = plan.chance + (1 - plan.chance) * np.exp(-estimates[:, 3])
    return pl.DataFrame(
        [
            pl.Series("cluster", range(len(clusters)), dtype=pl.Int64),
            pl.Series("kind", [one.kind for one in clusters], dtype=pl.String),
            pl.Series("n_instances", [len(one.members) for one in clusters], dtype=pl.Int64),
            result_column("first", np.array([curve[0] for curve in curves], dtype=np.float64)),
            result_column("last", np.array([curve[-1] for curve in curves], dtype=np.float64)),
            *(result_column(name, estimates[:, 1 + at]) for at, name in enumerate("abc")),
            result_column("limit", limit),
            result_column("explained", np.array(residues, dtype=np.float64)),
            statuses.column(),
            _flags(models, len(clusters)),
        ]
    )


def _items(models: _Models, plan: Plan, *_: Any) -> pl.DataFrame:
    """A row for each instance."""
    found = models.found(len(models.runs), plan)
    n = len(models.items)
    of = np.full(n, -1) if found is None else found.of_instance
    kinds = [ALONE if found is None or at < 0 else found.clusters[at].kind for at in of.tolist()]
    statuses = Statuses(n)
    statuses.set("too_few", np.full(n, found is None))
    return pl.DataFrame(
        [
            pl.Series("instance_id", models.items, dtype=pl.String),
            pl.Series("cluster", [None if at < 0 else at for at in of.tolist()], dtype=pl.Int64),
            pl.Series("kind", kinds, dtype=pl.String),
            result_column("score", models.rates.mean(axis=1) if models.rates.size else np.full(n, np.nan)),
            statuses.column(),
            _flags(models, n),
        ]
    )


def _flags(models: _Models, n: int) -> pl.Series:
    return flag_lists({name: np.full(n, up) for name, up in models.flags.items()}, n)


_ROWS = {"prediction": _predictions, "cluster": _clusters, "item": _items}
