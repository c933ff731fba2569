"""The verb `predictive_multiplicity`: do equally good models succeed on the same instances?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import Duplicates
from .._errors import OptionError
from .._instances import load_last_instances
from .._options import as_columns, check_choice, check_level, signature
from .._proportions import proportion_interval
from .._schema import did_you_mean
from .._scores import Filter, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._right_wrong import Answers, answers_of

Floats = NDArray[np.float64]

FEW_INSTANCES = 50


def predictive_multiplicity(
    scores: Scores,
    *,
    tolerance: float = 0.01,
    baseline: str | None = None,
    per: Literal["score", "run"] = "score",
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """On how many instances models that score nearly as well as the best one differ from it.

    ``ambiguity = 1/n sum_i max_h [h_i != h0_i]`` and ``discrepancy = max_h 1/n sum_i [h_i != h0_i]``, over the runs h
    whose score is at most `tolerance` below that of the baseline h0.

    Parameters
    ----------
    scores, by, where, order, columns, duplicates, strict, threads
        As in `item_response`: scores of 0 and 1 of instances; the last checkpoint of each run.
    tolerance
        How much lower a score still counts as equally good. `near_best` tells which ones noise does not tell apart.
    baseline
        Run that the others are held against. Default: the best one (the first by name of equals).
    per
        What a row is: a ``"score"``, or a ``"run"`` among the equally good.
    confidence_level
        Of ``low, high``.

    Returns
    -------
    DataFrame
        For ``per="score"``: by-columns; ``baseline``; ``n_runs, n_near`` (equally good ones beside the baseline),
        ``n_instances`` (that all runs have), ``n_unmatched``; ``score`` of the baseline; ``ambiguity, low, high``
        (Wilson, for other instances and the same runs); ``discrepancy`` and ``farthest``, the run where it is.

        For ``per="run"``: ``run``, its ``score``, ``conflicts`` (share of instances where it and the baseline differ,
        one right and one wrong), ``low, high``; ``expected``, the share if both were right by chance at their scores.

        Last ``status, flags, signature``.

    Undefined when
        No other run is within `tolerance`, or no instance is shared (``too_few``).

    Raises
    ------
    SchemaError
        Scores other than 0 and 1, no instances.
    OptionError
        No such baseline, a tolerance below 0 or above 1.

    Notes
    -----
    Two models that are wrong may be wrong in different ways: of answers to more than two choices these are lower
    limits. Ambiguity grows with the number of runs, so that it is compared at equal ``n_near``. Conflicts of a run well
    below ``expected`` say that the same instances are hard for both.

    References
    ----------
    Marx, Calmon and Ustun 2020, "Predictive multiplicity in classification", arXiv 1909.06677 (ambiguity and
    discrepancy over models within epsilon of a baseline).

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> rows = [
    ...     (run, "t", "acc", f"{item}", value)
    ...     for run, right in {"a": "1101", "b": "1110", "c": "0000"}.items() for item, value in enumerate(right)
    ... ]
    >>> names = ["run", "task", "metric", "instance_id", "value"]
    >>> table = pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("value").cast(pl.Float64))
    >>> sn.predictive_multiplicity(table).select("baseline", "n_near", "ambiguity", "discrepancy").rows()
    [('a', 1, 0.5, 0.5)]
    """
    check_choice("per", per, ("score", "run"))
    check_level(confidence_level)
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 <= tolerance <= 1:
        raise OptionError(f"tolerance must be from 0 to 1, got {tolerance!r}")
    loaded = load_last_instances(
        scores,
        verb="predictive_multiplicity",
        by=as_columns(by),
        where=where,
        order=order,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    parts = []
    for answers in answers_of(loaded, "predictive_multiplicity"):
        labels = loaded.labels.filter(pl.col("group") == answers.group).sort("side")
        names = dict(labels.select("side", "run").iter_rows())
        held = [names[int(side)] for side in answers.sides]
        near = _Near.of(answers, held, baseline, float(tolerance))
        label = labels.select(loaded.by).head(1)
        rows = (near.per_score if per == "score" else near.per_run)(confidence_level)
        gaps = bool((labels["n_missing"] + labels["n_nan"]).sum())
        flags = {
            "few_instances": np.full(rows.height, near.scores.shape[1] < FEW_INSTANCES),
            "missing_values": np.full(rows.height, gaps),
            "mixed_config": np.full(rows.height, "config" in loaded.joined),
        }
        keys = [label[name].new_from_index(0, rows.height) for name in loaded.by]
        parts.append(pl.DataFrame([*keys, *rows.get_columns(), flag_lists(flags, rows.height)]))
    text = signature(
        "predictive_multiplicity",
        tolerance=tolerance,
        baseline=baseline,
        per=per,
        order=order,
        level=confidence_level,
    )
    result = pl.concat(parts).with_columns(pl.lit(text).alias("signature"))
    check_strict(result, [*loaded.by, *(["run"] if per == "run" else [])], strict=strict)
    return result


class _Near:
    """The runs of a group that are as good as the baseline."""

    def __init__(
        self, scores: Floats, runs: list[str], first: int, near: NDArray[np.intp], n_unmatched: int
    ) -> None:
        self.scores, self.runs, self.first, self.near = scores, runs, first, near
        self.n_unmatched = n_unmatched
        self.means = scores.mean(axis=1) if scores.shape[1] else np.full(len(scores), np.nan)
        self.conflicts = scores[near] != scores[first]

    @classmethod
    def of(cls, answers: Answers, held: list[str], baseline: str | None, tolerance: float) -> _Near:
        """From the instances that all runs have."""
        shared = ~np.isnan(answers.scores).any(axis=0)
        scores = answers.scores[:, shared]
        if baseline is None:
            first = int(np.lexsort([held, -scores.sum(axis=1)])[0])
        elif baseline in held:
            first = held.index(baseline)
        else:
            raise OptionError(f"baseline: there is no run {baseline!r}{did_you_mean(baseline, held)}")
        behind = (scores[first].sum() - scores.sum(axis=1)) / max(1, scores.shape[1])
        near = np.flatnonzero((behind <= tolerance + 1e-12) & (np.arange(len(held)) != first))
        return cls(scores, held, first, near, int((~shared).sum()))

    def per_score(self, level: float) -> pl.DataFrame:
        """One row."""
        n, defined = self.scores.shape[1], len(self.near) > 0 and self.scores.shape[1] > 0
        touched = self.conflicts.any(axis=0).sum() if defined else 0
        low, high = _limits(np.array([touched]), n, level)
        own = self.conflicts.mean(axis=1) if defined else np.array([np.nan])
        statuses = Statuses(1)
        statuses.set("too_few", np.array([not defined]))
        void = np.array([np.nan])
        return pl.DataFrame(
            {
                "baseline": [self.runs[self.first]],
                "n_runs": [len(self.runs)],
                "n_near": [len(self.near)],
                "n_instances": [n],
                "n_unmatched": [self.n_unmatched],
                "score": result_column("score", self.means[[self.first]]),
                "ambiguity": result_column("ambiguity", np.array([touched / n]) if defined else void),
                "low": result_column("low", low if defined else void),
                "high": result_column("high", high if defined else void),
                "discrepancy": result_column("discrepancy", np.array([own.max()])),
                "farthest": [self.runs[self.near[int(own.argmax())]] if defined else None],
                "status": statuses.column(),
            },
            schema_overrides={"farthest": pl.String},
        )

    def per_run(self, level: float) -> pl.DataFrame:
        """A row for each run beside the baseline."""
        n = self.scores.shape[1]
        counts = self.conflicts.sum(axis=1)
        low, high = _limits(counts, n, level)
        own, other = self.means[self.first], self.means[self.near]
        statuses = Statuses(len(self.near))
        statuses.set("too_few", np.full(len(self.near), n == 0))
        with np.errstate(all="ignore"):
            share = counts / n if n else np.full(len(counts), np.nan)
        return pl.DataFrame(
            [
                pl.Series("run", [self.runs[at] for at in self.near], dtype=pl.String),
                pl.Series("baseline", [self.runs[self.first]] * len(self.near), dtype=pl.String),
                pl.Series("n_instances", [n] * len(self.near), dtype=pl.Int64),
                result_column("score", other),
                result_column("conflicts", share),
                result_column("low", low),
                result_column("high", high),
                result_column("expected", own * (1 - other) + other * (1 - own)),
                statuses.column(),
            ]
        )


def _limits(counts: NDArray[np.intp], n: int, level: float) -> tuple[Floats, Floats]:
    if not n:
        return np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    return proportion_interval(
        counts.astype(float), np.full(len(counts), float(n)), method="wilson", level=level
    )
