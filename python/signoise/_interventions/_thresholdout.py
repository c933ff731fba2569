"""The verb `thresholdout`: ask a holdout again and again without learning it by heart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import THRESHOLDOUT, uniforms
from .._errors import InsufficientDataError, OptionError, SchemaError
from .._options import check_count, check_seed, signature

Floats = NDArray[np.float64]

#: Below this many instances the answers are those of the training half however far off these are.
LEAST = 2000


def thresholdout(
    train: pl.DataFrame,
    holdout: pl.DataFrame,
    *,
    budget: int,
    threshold: float | None = None,
    noise: float | None = None,
    rng_seed: int = 0,
) -> pl.DataFrame:
    """Answer questions about means of instances from a holdout that is used many times.

    A query is a score of instances in [0, 1]; its answer is its mean on `train`, unless that of `holdout` is further
    away than a random threshold: then it is the latter with noise, which costs one of the budget. Questions may
    depend on earlier answers, as where a benchmark is filtered again and again.

    Parameters
    ----------
    train, holdout
        A column for each query, in the order in which they were asked, and a row for each instance: at least 2,000
        independent ones in each, scores from 0 to 1. Append a column to ask on: earlier answers stay as they were.
    budget
        Answers that the holdout may give.
    threshold
        About how far the two means may be apart; default 4/sqrt(n) for n instances in `holdout`.
    noise
        Scale of the noise; default 1/sqrt(n).
    rng_seed
        Of the noise. Whoever asks must not know it.

    Returns
    -------
    DataFrame
        A row for each query: ``query, answer``; ``answered_by`` (``"train"``, ``"holdout"``); ``budget_left``;
        ``status``, ``signature``. The mean of the holdout is not shown: that is what it is for.

    Undefined when
        The budget was spent before (``budget_spent``): the answer is null, also where `train` would have given it.

    Raises
    ------
    InsufficientDataError
        For fewer than 2,000 instances: an answer is off by about the threshold, 4/sqrt(n).
    SchemaError
        For scores that are missing or outside [0, 1]; SNR, decision accuracy and ranks are no means of instances and
        cannot be asked.

    Notes
    -----
    With Lap(b) a Laplace variable of scale b: T' = T + Lap(2 s) at first and after each answer of the holdout; a query
    goes to the holdout where ``|mean_holdout - mean_train| > T' + Lap(4 s)``, whose answer is ``mean_holdout +
    Lap(s)``. The defaults of T and s are a rule of thumb. Answers are not cut to [0, 1].

    References
    ----------
    Dwork et al. 2015, "Generalization in adaptive data analysis and holdout reuse", arXiv 1506.02629, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> import polars as pl
    >>> import signoise as sn
    >>> rng = np.random.default_rng(0)
    >>> train, holdout = (pl.DataFrame({"honest": rng.random(5000)}) for _ in range(2))
    >>> train = train.with_columns(overfit=0.2 + 0.8 * pl.col("honest"))
    >>> table = sn.thresholdout(train, holdout.with_columns(overfit=pl.col("honest")), budget=10)
    >>> table.select("query", "answered_by", "budget_left").rows()
    [('honest', 'train', 10), ('overfit', 'holdout', 9)]
    """
    check_count("budget", budget)
    check_seed(rng_seed)
    if train.columns != holdout.columns or not train.columns:
        raise SchemaError(
            f"train and holdout must have the same columns, a query each; they have "
            f"{', '.join(train.columns) or 'none'} and {', '.join(holdout.columns) or 'none'}"
        )
    means = {name: _means(frame, name) for name, frame in (("train", train), ("holdout", holdout))}
    scale = 1 / math.sqrt(holdout.height)
    limit = _positive("threshold", 4 * scale if threshold is None else threshold)
    spread = _positive("noise", scale if noise is None else noise)
    # One stream: a number for the first threshold, then three a query, used or not, so that later ones change nothing.
    draws = _laplace(uniforms(rng_seed, THRESHOLDOUT, 0, 1 + 3 * train.width))
    current = limit + 2 * spread * draws[0]
    left = budget
    rows: list[dict[str, Any]] = []
    for query, at_train, at_holdout, own in zip(
        train.columns, means["train"], means["holdout"], draws[1:].reshape(-1, 3), strict=True
    ):
        row: dict[str, Any] = {"query": query, "answer": None, "answered_by": None, "status": "budget_spent"}
        if left:
            row |= {"answer": at_train, "answered_by": "train", "status": "ok"}
            if abs(at_holdout - at_train) > current + 4 * spread * own[0]:
                row |= {"answer": at_holdout + spread * own[1], "answered_by": "holdout"}
                left -= 1
                current = limit + 2 * spread * own[2]
        rows.append(row | {"budget_left": left})
    schema: dict[str, Any] = {
        "query": pl.String,
        "answer": pl.Float64,
        "answered_by": pl.String,
        "budget_left": pl.Int64,
        "status": pl.String,
    }
    text = signature("thresholdout", budget=budget, threshold=limit, noise=spread)
    return pl.DataFrame(rows, schema=schema).with_columns(pl.lit(text).alias("signature"))


def _means(frame: pl.DataFrame, name: str) -> list[float]:
    """Mean of each query, after a look at its scores."""
    if frame.height < LEAST:
        raise InsufficientDataError(
            f"{name} has {frame.height} instances, and thresholdout needs {LEAST}: with fewer an answer may be off by "
            f"{4 / math.sqrt(max(frame.height, 1)):.2f}"
        )
    out = []
    for column in frame:
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise SchemaError(f"{name}: the scores of {column.name!r} must be numbers, found {column.dtype}")
        values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
        if not np.all((values >= 0) & (values <= 1)):
            raise SchemaError(
                f"{name}: the scores of {column.name!r} must be from 0 to 1 for every instance; drop the instances "
                "that lack one in both halves, and scale the others"
            )
        out.append(float(values.mean()))
    return out


def _positive(name: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
        raise OptionError(f"{name} must be a positive number, got {value!r}")
    return float(value)


def _laplace(uniform: Floats) -> Floats:
    """Laplace variables of scale 1."""
    centred = uniform - 0.5
    return -np.sign(centred) * np.log1p(-2 * np.abs(centred))
