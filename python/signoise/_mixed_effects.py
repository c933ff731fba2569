"""The verb `mixed_effects`: linear mixed models with crossed random intercepts, fitted by statsmodels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._adjust import Method, adjusted
from ._duplicates import Duplicates
from ._errors import OptionError, SchemaError, SignoiseError
from ._instances import Instances, load_last_instances
from ._intervals import quantile_at
from ._kernels import kernels
from ._options import as_columns, check_choice, check_level, signature
from ._scores import Filter, Scores
from ._status import Statuses, check_strict, flag_lists, result_column

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Rows times levels of scores that hang together: with more, statsmodels takes minutes and gigabytes.
LARGEST = 2_000_000
#: A component below this ratio to the residual lies at the bound.
_AT_BOUND = 1e-6


def mixed_effects(
    scores: Scores,
    *,
    fixed: str = "run",
    random: str | Sequence[str] | None = None,
    baseline: str | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    adjust: Method = "holm",
    confidence_level: float = 0.95,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Means, differences and variance components from a linear mixed model of the scores of instances.

    ``score = mean of its run + instance + [cluster] + [training run] + residual``, all but the first random and normal.
    Needs statsmodels: ``pip install 'signoise[mixed]'``.

    Parameters
    ----------
    scores, where, columns, duplicates, strict, threads
        As in `snr`; instance rows are needed.
    fixed
        Column whose levels have a mean each: ``run``, or ``recipe`` (and such) whose runs differ by their seed.
    random
        Columns with a random intercept for each of their levels, crossed or nested. Default: ``instance_id``;
        ``cluster`` where some instances share one; ``run`` where `fixed` is another column and has several runs at some
        level.
    baseline
        Level of `fixed`: differences of all others from it are added.
    by
        Key of the models, one each. The last checkpoint of each run is taken.
    order
        Column that says which checkpoint is the last; where a run lacks it, ``step``.
    adjust
        Of `p_adjusted`, for the number of differences: ``"holm"``, ``"bonferroni"``, ``"bh"``, ``"by"`` or ``"none"``.
    confidence_level
        Of `low` and `high`.

    Returns
    -------
    DataFrame
        By-columns; ``term`` (the column of `fixed`, those of `random`, ``residual``) and ``level``. Rows of `fixed`:
        ``estimate`` of its mean, or of the difference from ``baseline``, with ``stderr, df, low, high``; ``p_value`` of
        no difference and ``p_adjusted``. Rows of the others: ``estimate`` of the variance (score units squared) and its
        ``share`` of all of them. ``n_levels`` of the term, ``n`` scores in the model; ``n_missing, n_nan, status,
        flags, signature``.

    Undefined when
        Fewer than 2 levels of a random term, or no scores left for the residual (``too_few``). All scores equal
        (``constant``). The optimum was not found (``not_converged``: no estimate at all). A variance came out as 0
        (``at_bound``: it is 0, and the rest is that of the model without it).
        The score is no plain mean of instances (``not_a_mean``).

    Raises
    ------
    SchemaError
        For scores without instances, or a level that is not there.
    OptionError
        Where statsmodels would take too long: scores that hang together through crossed terms, with more than 2 million
        rows times levels (300 instances of 9 random runs, 0.8 million, take some 5 s; instances alone do not hang
        together: 1,000 of 9 runs take some 15 s).
    SignoiseError
        Where statsmodels is missing.

    Notes
    -----
    Restricted maximum likelihood by ``MixedLM`` of statsmodels, of standardised scores, begun where a bounded search
    over its likelihood ends: its own optimisers stray where a variance is 0. Repeats are averaged within an instance
    first, so that the residual holds what is left of their variance. Student's t with degrees of freedom by
    containment: levels of the random term that lies within those of `fixed` (runs of a recipe) less levels of `fixed`,
    else rows less levels. For 0/1 scores the model is one of probabilities and a normal approximation. In balanced
    designs without missing scores `compare` and `variance` say the same in closed form, for any size; the model is for
    unbalanced ones, and for several sources of variance at once.

    References
    ----------
    Lindstrom and Bates 1988, "Newton-Raphson and EM algorithms for linear mixed-effects models", JASA 83; Seabold and
    Perktold 2010, "statsmodels", SciPy conference.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=2, params=(1e9,), checkpoints=1, instances=60, signal=0.2)
    >>> table = sn.mixed_effects(scores)
    >>> table["term"].to_list()
    ['run', 'run', 'instance_id', 'residual']
    """
    check_level(confidence_level)
    check_choice("adjust", adjust, ("holm", "bonferroni", "bh", "by", "none"))
    given = None if random is None else as_columns(random)
    if given is not None and (fixed in given or not given):
        raise OptionError(f"random must name columns other than fixed={fixed!r}, got {list(given)}")
    _statsmodels()
    wanted = [fixed, *(("cluster",) if given is None else given)]
    loaded = load_last_instances(
        scores,
        verb="mixed_effects",
        by=as_columns(by),
        where=where,
        order=order,
        use=[name for name in wanted if name not in ("run", "instance_id")],
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    models = _designs(loaded, fixed, given)
    if baseline is not None and not any(baseline in design.levels for design in models):
        raise SchemaError(f"baseline: {fixed} is never {baseline!r}")
    fits = [_fit(design) for design in models]
    text = signature(
        "mixed_effects", fixed=fixed, random=given or "auto", adjust=adjust, level=confidence_level
    )
    result = _result(loaded, models, fits, fixed, baseline, adjust, confidence_level, text)
    check_strict(result, [*loaded.by, "term"], strict=strict)
    return result


def _statsmodels() -> Any:
    try:
        from statsmodels.regression import mixed_linear_model
    except ImportError:
        raise SignoiseError(
            "mixed models are fitted by statsmodels, which is not installed; pip install 'signoise[mixed]'"
        ) from None
    return mixed_linear_model


# --- designs --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Design:
    """Scores of one model."""

    group: int
    y: Floats
    levels: list[str]
    """Of the fixed term."""
    fixed: Ints
    """Level of each score."""
    random: dict[str, Ints]
    """Level of each score in each random term."""

    @property
    def df(self) -> float:
        """Degrees of freedom of means and differences, by containment."""
        sizes = {name: int(codes.max(initial=-1)) + 1 for name, codes in self.random.items()}
        inside = [
            size - len(self.levels)
            for name, size in sizes.items()
            if len(np.unique(np.stack([self.random[name], self.fixed]), axis=1).T) == size
        ]
        rest = len(self.y) - len(self.levels) - max(sizes.values(), default=1) + 1
        return float(min([*inside, rest]))


def _designs(loaded: Instances, fixed: str, random: Sequence[str] | None) -> list[_Design]:
    """A design for each group, in order."""
    known = [name for name in ("run",) if name not in loaded.scores.columns]
    labels = loaded.labels.select("group", "side", *known)
    rows = loaded.scores.join(labels, on=["group", "side"], maintain_order="left")
    for name in [fixed, *(random or ())]:
        if name not in rows.columns:
            raise SchemaError(f"the table has no column {name!r} beside its instances")
        if rows[name].null_count():
            raise SchemaError(
                f"{rows[name].null_count()} scores have no {name!r}; filter them out (where=...)"
            )
    designs = []
    for group in loaded.labels["group"].unique().sort():
        part = rows.filter(pl.col("group") == group)
        terms = _default_terms(part, fixed) if random is None else list(random)
        names = part[fixed].cast(pl.String)
        designs.append(
            _Design(
                group=group,
                y=part["value"].to_numpy(),
                levels=names.unique().sort().to_list(),
                fixed=_codes(names),
                random={name: _codes(part[name]) for name in terms},
            )
        )
    return designs


def _default_terms(part: pl.DataFrame, fixed: str) -> list[str]:
    terms = ["instance_id"]
    if fixed != "run" and part.group_by(fixed).agg(pl.col("run").n_unique())["run"].max() != 1:
        terms.append("run")
    clusters = (
        part.group_by("cluster").agg(pl.col("instance_id").n_unique()) if "cluster" in part.columns else None
    )
    if clusters is not None and not clusters["cluster"].null_count() and (clusters["instance_id"] > 1).any():
        terms.append("cluster")
    return terms


def _codes(column: pl.Series) -> Ints:
    return (column.rank("dense").cast(pl.Int64) - 1).to_numpy().astype(np.intp)


# --- fits -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fit:
    """Estimates of one model, score units; NaN where undefined."""

    status: str
    mean: Floats
    covariance: Floats
    variance: dict[str, float]
    """Of each random term, and of the ``residual``."""


def _undefined(design: _Design, status: str) -> _Fit:
    k = len(design.levels)
    parts = dict.fromkeys([*design.random, "residual"], np.nan)
    return _Fit(status, np.full(k, np.nan), np.full((k, k), np.nan), parts)


def _fit(design: _Design) -> _Fit:
    sizes = [int(codes.max(initial=-1)) + 1 for codes in design.random.values()]
    if len(design.y) == 0 or min(sizes) < 2 or design.df < 1:
        return _undefined(design, "too_few")
    centre, spread = design.y.mean(), design.y.std()
    if not np.isfinite(spread):
        return _undefined(design, "not_finite")
    if spread == 0:
        return _undefined(design, "constant")
    y = (design.y - centre) / spread
    exog = (design.fixed[:, None] == np.arange(len(design.levels))).astype(float)
    found = _optimum(y, exog, design.random)
    if found is None:
        return _undefined(design, "not_converged")
    mean, covariance, parts = found
    status = "at_bound" if any(part == 0 for part in parts.values()) else "ok"
    return _Fit(
        status,
        centre + spread * mean,
        spread**2 * covariance,
        {name: spread**2 * part for name, part in parts.items()},
    )


def _optimum(
    y: Floats, exog: Floats, random: Mapping[str, Ints]
) -> tuple[Floats, Floats, dict[str, float]] | None:
    """Means, their covariance and components; those at the bound of 0 are taken out of the model. None without one.

    Without bounds the optimisers of statsmodels stray, or stop where they should not: a bounded search over its
    likelihood comes first, and the fit from there must end as high.
    """
    at_bound = dict.fromkeys(random, 0.0)
    height, ratios = _search(_model(y, exog, random))
    kept = [name for name, ratio in zip(sorted(random), ratios, strict=True) if ratio > _AT_BOUND]
    if not kept:
        mean: Floats = np.linalg.lstsq(exog, y, rcond=None)[0].astype(float)
        scale = float(((y - exog @ mean) ** 2).sum()) / (len(y) - exog.shape[1])
        covariance: Floats = np.diag(scale / exog.sum(axis=0))
        return mean, covariance, at_bound | {"residual": scale}
    model = _model(y, exog, {name: random[name] for name in kept})
    result = _quiet_fit(model, np.sqrt(ratios[ratios > _AT_BOUND]), gtol=1e-7)
    if result is None or not result.converged or result.llf < height - 1e-3:
        return None
    mean = np.array(result.fe_params, dtype=np.float64)
    covariance = np.array(result.cov_params(), dtype=np.float64)[: len(mean), : len(mean)]
    if not np.isfinite(covariance).all():
        return None
    parts = {name: float(part) for name, part in zip(kept, result.vcomp, strict=True)}
    return mean, covariance, at_bound | parts | {"residual": float(result.scale)}


def _search(model: Any) -> tuple[float, Floats]:
    """Largest likelihood, and the ratios of components to the residual there, within bounds."""
    from scipy import optimize

    terms = len(model.exog_vc.names)
    _quiet_fit(model, np.ones(terms), gtol=np.inf)  # stops where it begins, ready for the likelihood

    def depth(log_ratio: Floats) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return -float(model.loglike(np.exp(log_ratio / 2)))

    bounds = [(np.log(_AT_BOUND) - 1.0, np.log(1e4))] * terms
    found = optimize.minimize(
        depth, np.full(terms, -1.0), method="L-BFGS-B", bounds=bounds, options={"eps": 1e-5, "ftol": 1e-13}
    )
    # Where the likelihood is flat towards the bound, the search stops short of it.
    best = np.asarray(found.x, dtype=float)
    for term in range(terms):
        lowered = best.copy()
        lowered[term] = bounds[term][0]
        if depth(lowered) <= depth(best) + 1e-9:
            best = lowered
    return -depth(best), np.exp(best)


def _quiet_fit(model: Any, start: Floats, gtol: float) -> Any | None:
    """The fit from a start (square roots of ratios); what went wrong shows in the result, or there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return model.fit(reml=True, start_params=start, method="bfgs", gtol=gtol)
        except np.linalg.LinAlgError:
            return None


def _model(y: Floats, exog: Floats, random: Mapping[str, Ints]) -> Any:
    """The model in blocks of scores that share no level of any random term."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    n = len(y)
    names = sorted(random)
    sizes = [int(random[name].max()) + 1 for name in names]
    starts = n + np.concatenate([[0], np.cumsum(sizes)])
    ends = np.concatenate([random[name] + start for name, start in zip(names, starts[:-1], strict=True)])
    links = sparse.coo_matrix(
        (np.ones(len(ends)), (np.tile(np.arange(n), len(names)), ends)), (starts[-1],) * 2
    )
    block = np.unique(connected_components(links, directed=False)[1][:n], return_inverse=True)[1]
    order = np.argsort(block, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(block[order])) + 1)
    matrices: list[list[Any]] = []
    labels: list[list[list[str]]] = []
    for name in names:
        own = [np.unique(random[name][part], return_inverse=True)[1] for part in rows]
        shapes = [(len(codes), int(codes.max()) + 1) for codes in own]
        pieces = [
            sparse.csr_matrix((np.ones(s[0]), (np.arange(s[0]), c)), s)
            for c, s in zip(own, shapes, strict=True)
        ]
        # Sparse is for what hangs together; many small blocks are faster dense.
        matrices.append(pieces if len(rows) == 1 else [piece.toarray() for piece in pieces])
        labels.append([[str(level) for level in range(shape[1])] for shape in shapes])
    levels = [sum(len(term[at]) for term in labels) for at in range(len(rows))]
    size = max(len(part) * count for part, count in zip(rows, levels, strict=True))
    if size > LARGEST:
        raise OptionError(
            f"{len(names)} random terms ({', '.join(names)}) tie {size:,} rows x levels together, more than "
            f"{LARGEST:,}, which takes statsmodels too long; take part of the instances (where=...), fewer terms "
            "(random=...), or closed forms (compare, variance)"
        )
    statsmodels = _statsmodels()
    return statsmodels.MixedLM(y, exog, block, exog_vc=statsmodels.VCSpec(names, labels, matrices))


# --- the table ------------------------------------------------------------------------------------


def _result(
    loaded: Instances,
    designs: Sequence[_Design],
    fits: Sequence[_Fit],
    fixed: str,
    baseline: str | None,
    adjust: Method,
    level: float,
    text: str,
) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for design, fit in zip(designs, fits, strict=True):
        common = {"group": design.group, "n": len(design.y), "reason": fit.status}
        k = len(design.levels)
        stderr = np.sqrt(np.diag(fit.covariance))
        terms: list[tuple[str, str | None, float, float]] = [
            *zip(design.levels, [None] * k, fit.mean, stderr, strict=True)
        ]
        if baseline in design.levels:
            at = design.levels.index(baseline)
            own = np.diag(fit.covariance)
            apart = np.sqrt(np.maximum(own + own[at] - 2 * fit.covariance[at], 0.0))
            difference = fit.mean - fit.mean[at]
            others = [i for i in range(k) if i != at]
            terms += [(design.levels[i], baseline, difference[i], apart[i]) for i in others]
        rows += [
            common
            | {"term": fixed, "level": name, "baseline": of, "estimate": value, "stderr": error}
            | {"df": design.df, "n_levels": k}
            for name, of, value, error in terms
        ]
        total = sum(fit.variance.values())
        counts = {name: int(codes.max(initial=-1)) + 1 for name, codes in design.random.items()}
        rows += [
            common
            | {
                "term": name,
                "estimate": value,
                "share": value / total,
                "n_levels": counts.get(name, len(design.y)),
            }
            for name, value in fit.variance.items()
        ]
    schema = {
        "group": pl.UInt32,
        "term": pl.String,
        "level": pl.String,
        "baseline": pl.String,
        **dict.fromkeys(("estimate", "stderr", "df", "share"), pl.Float64),
        "n_levels": pl.Int64,
        "n": pl.Int64,
        "reason": pl.String,
    }
    table = pl.DataFrame(rows, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))
    return _finished(loaded, table, adjust, level, text)


def _finished(
    loaded: Instances, table: pl.DataFrame, adjust: Method, level: float, text: str
) -> pl.DataFrame:
    """Intervals, tests, counts and labels beside the estimates."""
    value, stderr, df = (table[name].fill_null(np.nan).to_numpy() for name in ("estimate", "stderr", "df"))
    differences = table["baseline"].is_not_null().to_numpy()
    with np.errstate(all="ignore"):
        half = quantile_at("t_quantile", (1 + level) / 2, df) * stderr
        p = np.where(differences, 2 * kernels().t_cdf(-np.abs(value / stderr), df), np.nan)
    groups = loaded.labels.group_by("group", *loaded.by, maintain_order=True).agg(
        pl.col("n_missing").sum(), pl.col("n_nan").sum(), pl.col("plain").first()
    )
    labels = table.select("group").join(groups, on="group", maintain_order="left")
    plain = labels["plain"].to_numpy()
    statuses = Statuses.of(table["reason"])
    statuses.set("not_a_mean", ~plain)
    flags = {
        "missing_values": (labels["n_missing"] + labels["n_nan"]).to_numpy() > 0,
        "mixed_config": np.full(table.height, "config" in loaded.joined),
    }
    numbers = {
        "estimate": value,
        "stderr": stderr,
        "df": df,
        "low": value - half,
        "high": value + half,
        "p_value": p,
        "p_adjusted": adjusted(p, adjust),
        "share": table["share"].fill_null(np.nan).to_numpy(),
    }
    return pl.DataFrame(
        [
            *(labels[name] for name in loaded.by),
            *(table[name] for name in ("term", "level", "baseline")),
            *(result_column(name, np.where(plain, column, np.nan)) for name, column in numbers.items()),
            *(table[name] for name in ("n_levels", "n")),
            *(labels[name] for name in ("n_missing", "n_nan")),
            statuses.column(),
            flag_lists(flags, table.height),
        ]
    ).with_columns(pl.lit(text).alias("signature"))
