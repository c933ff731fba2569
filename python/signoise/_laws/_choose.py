"""The verb `choose_law`: which laws a table admits, how they foretell larger scales, and what they say together."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from .._errors import DroppedRowsWarning, OptionError, SchemaError
from .._options import as_columns, check_choice, check_count, check_threads, signature
from .._schema import did_you_mean
from .._scores import Filter, Scores
from .._told import Told
from ._candidates import Candidate, Columns, candidates
from ._choose_rows import NOT_ADMISSIBLE, Target, contest_rows, try_laws
from ._columns import (
    DERIVED,
    Checkpoints,
    Repeats,
    Rows,
    Source,
    check_plausible,
    inner_columns,
    input_column,
    other_params,
    read_rows,
)
from ._fitted import beside
from ._forecasts import blocks
from ._law import OBJECTIVES, Law, Objective, Parameter, find_law, registry
from ._points import points_of
from ._splits import LEAST_RUNGS
from ._status import check_strict

#: Columns by which models are ordered first: the largest is the one with most parameters.
_FIRST = ("params", "params_nonembedding", "flops", "tokens")
#: Sizes of models at which they are the scale.
_MANY_SIZES = LEAST_RUNGS + 1


def choose_law(
    scores: Scores,
    *,
    laws: str | Law | Sequence[str | Law] | None = None,
    at: Mapping[str, float] | None = None,
    max_scales: int = 10,
    x: str | Mapping[str, str | Sequence[str]] | None = None,
    y: str | None = None,
    by: str | Sequence[str] | None = None,
    where: Filter = None,
    objective: Objective | None = None,
    checkpoints: Checkpoints = "all",
    repeats: Repeats = "all",
    scale: str | None = None,
    check_units: bool = True,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Which laws a table admits, how well each foretold larger scales from smaller ones, and what they say together.

    Parameters
    ----------
    scores
        As in `fit_scaling_law`.
    laws
        Laws to try, whatever they are of. Default: every registered law whose inputs the table has and whose y goes the
        way of the scores.
    at
        A target, ``{"params": 7e9, "tokens": 4e12}``, to predict with every law and with all of them.
    max_scales
        With more distinct scales than this, neighbours are put together; each law is fitted once for each but two.
    x
        The column that laws of any one amount are of (default: flops, else params, else tokens), or the columns of
        single laws, ``{"power_law": "params"}``.
    y, by, where, checkpoints, repeats, check_units, columns
        As in `fit_scaling_law`, the same for all laws.
    scale
        Column whose larger values are predicted from smaller ones. Default: params where there are three sizes or more,
        else the first input of the laws.
    objective
        The same for all laws. Default: each law's own.
    strict
        Raise `FitError` where a law that is tried cannot be fitted, or one in `laws` is not tried.
    threads
        As in `fit_scaling_law`.

    Returns
    -------
    DataFrame
        A row for each group and law, best first. By-columns; ``law``; ``kind``: ``law``, ``baseline``
        (``predict_last``, the score of the largest known model at its last place; ``predict_best``, the best known
        score) or ``combination`` (``selected``, the law that was best so far; ``weighted``, the median of all weighted
        by 1/MSE so far; ``median`` of the laws near the best so far); ``inputs`` (columns), ``n_parameters``.
        ``n_scales, n_points`` that were predicted, each from all smaller scales; ``error`` (mean over scales of the
        mean absolute relative error), ``worst`` (of a scale), ``error_largest`` (of the largest), ``bias`` (signed
        mean), ``skill`` (1 - error/error of the better baseline; a scale that a law could not predict counts as
        ``predict_last`` does), ``weight`` in ``weighted``.
        Of `at`: ``predicted``; of combinations ``lowest, highest`` of the laws near the best (``covered``: what share
        of the points predicted lay between these); ``extrapolation`` (how many times beyond what is known the farthest
        amount in `at` lies), ``error_far, n_far`` (mean error at scales at least as far ahead, how many there were).
        ``note``: why a law is not tried; of ``selected``, how far to trust all this. ``status, flags, signature``.

    Undefined when
        A law is not tried (``not_admissible``) or has no fit below any scale (``too_few``, ``not_converged``); there
        are fewer than three scales (``too_few``). `at` lacks an input of the law: no prediction.

    Raises
    ------
    OptionError, SchemaError
        As `fit_scaling_law`; the same law twice; no law can be tried.
    FitError
        With `strict`.

    Notes
    -----
    All laws are fitted to the same points: columns that half of the rows or more hold are taken, rows without them left
    out and counted. A fit starts from 16 to 128 of the law's starts, evenly chosen; `fit_scaling_law` takes all.
    The best of many laws looks better than it is. What to expect of a choice is in the row ``selected``: at each scale
    the law that was best on smaller ones (the median where there is no record yet). Near the best are laws with skill
    above 0 whose error is within a standard error of the best one's; the range of their predictions is what the choice
    of a law leaves open, not an interval of a new score. In ``weighted`` and ``median`` laws of one form share a vote
    (chinchilla, hitchhiker and ladder_loss differ in objective and bounds alone), and so do laws that say the same.
    Errors one scale ahead say little of a target many scales away: ``error_far`` is of as many, where the table has
    them. Differences of a few percent may be the luck of training seeds (Choshen et al.).

    References
    ----------
    Choshen et al. 2024, arXiv 2410.11840 (baselines, absolute relative error); Tashman 2000, Out-of-sample tests of
    forecasting accuracy (rolling origin); Bates and Granger 1969, The combination of forecasts; Breiman et al. 1984,
    Classification and regression trees, 3.4.3 (one standard error).

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> runs = pl.DataFrame({"params": [1e8, 2e8, 4e8, 1e9, 2e9] * 3, "tokens": [2e9] * 5 + [8e9] * 5 + [3.2e10] * 5})
    >>> runs = runs.with_columns(loss=1.7 + 400 * pl.col("params") ** -0.34 + 410 * pl.col("tokens") ** -0.28)
    >>> laws = ["hitchhiker", "power_law", "ladder_sigmoid"]
    >>> out = sn.choose_law(runs, y="loss", laws=laws, at={"params": 7e9, "tokens": 1.4e11})
    >>> out.select("law", "kind", pl.col("error", "predicted").round(3)).rows()[0]
    ('hitchhiker', 'law', 0.0, 2.19)
    >>> out.filter(law="ladder_sigmoid")["note"].item()
    'it is of loss, which is what is fitted'
    """
    chosen = _laws(laws)
    check_count("max_scales", max_scales, 3)
    check_threads(threads)
    if objective is not None:
        check_choice("objective", objective, OBJECTIVES)
    source = Source(
        scores,
        (),
        y,
        by=None if by is None else as_columns(by),
        where=where,
        scale=scale,
        checkpoints=checkpoints,
        repeats=repeats,
        check_units=check_units,
        columns=columns,
        strict=strict,
        threads=threads,
    )
    told = Told()
    with told.listen():
        rows = read_rows(source)
        found = Columns(rows, check_units)
        tried = candidates(found, chosen, x, y, named=laws is not None, repeats=repeats)
        union = _union(tried)
        target = None if at is None else _target(at, rows, union.inputs, check_units=check_units)
        other = other_params(rows.frame)
        if other is not None and "params" in union.inputs:
            rows.notes.append(f"params were taken, not {other}; columns={{{other!r}: 'params'}} takes those")
        rung = scale or ("params" if found.n_values("params") >= _MANY_SIZES else next(iter(union.inputs)))
        source = replace(source, x=tuple(union.inputs), scale=rung)
        frame = inner_columns(rows, source, {name: name for name in union.inputs})
        grouped = points_of(frame, union, source, rows.by, rows.notes)
        if grouped.notes:
            warnings.warn("; ".join(grouped.notes), DroppedRowsWarning, stacklevel=2)
    told.repeat()
    tables = []
    for index, points in enumerate(grouped.groups):
        label = grouped.label(index)
        metric = label["metric"].item() if "metric" in label.columns else y
        trials = try_laws(
            tried,
            blocks(points, max_scales),
            label,
            metric or "value",
            objective,
            named=laws is not None,
            threads=threads,
        )
        tables.append(beside(label, contest_rows(trials, target, rung)))
    stamp = signature(
        "choose_law",
        laws=None if laws is None else [law.name for law in chosen],
        at=None if at is None else [f"{name}={value:g}" for name, value in sorted(at.items())],
        scale=rung,
        max_scales=max_scales,
        objective=objective,
        checkpoints=checkpoints,
        repeats=repeats,
    )
    table = pl.concat(tables).with_columns(signature=pl.lit(stamp))
    judged = table if laws is not None else table.filter(pl.col("status") != NOT_ADMISSIBLE)
    check_strict(judged, [*grouped.by, "law"], strict=strict)
    return table


def _laws(laws: str | Law | Sequence[str | Law] | None) -> list[Law]:
    """The laws to try, each once."""
    if laws is None:
        return list(registry().values())
    found = [find_law(law) for law in ([laws] if isinstance(laws, (str, Law)) else laws)]
    names = [law.name for law in found]
    if not found or len(set(names)) < len(names):
        raise OptionError(f"laws must name each law once, got {', '.join(names) or 'none'}")
    return found


def _union(tried: Sequence[Candidate]) -> Law:
    """A law of all columns that the others are of: its points are theirs."""
    able = [one for one in tried if not one.reason]
    if not able:
        reasons = dict.fromkeys(f"{one.law.name}: {one.reason}" for one in tried)
        raise SchemaError(f"no law can be tried on this table: {'; '.join(list(reasons)[:3])}")
    names = dict.fromkeys(name for one in able for name in one.columns)
    ordered = sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    return Law("any", "level", dict.fromkeys(ordered, ""), (Parameter("level", (0.0,)),))


def _target(at: Mapping[str, float], rows: Rows, inputs: Mapping[str, str], *, check_units: bool) -> Target:
    """The target: what is given, and inputs that follow from it."""
    place = pl.DataFrame({name: [float(value)] for name, value in at.items()})
    known = [*inputs, *rows.frame.columns]
    for name in at:
        if name not in known and name not in DERIVED:
            raise OptionError(f"at: no law here is of {name!r}{did_you_mean(name, [*inputs])}")
        if check_units:
            check_plausible(name, place[name])
    found = {name: float(value) for name, value in at.items()}
    for name in inputs:
        with contextlib.suppress(SchemaError):
            found[name] = float(input_column(place, name, [])[0])
    return Target(found, tuple(name for name in inputs if name in at) or tuple(set(inputs) & set(found)))
