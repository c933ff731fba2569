"""The verb `choice_metrics`: every metric that the log-likelihoods of the choices give, from the dumps of a harness."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._errors import DroppedRowsWarning, OptionError, ReadError, SignoiseWarning
from .._metrics import lookup
from .._options import check_threads
from .._readers import Batch, Opened, Part, Planned, ReadReport, lengthen, open_source
from .._readers._batches import batches, filled_labels
from .._readers._choices import Choices, ChoosingDump
from .._readers._files import Source
from .._readers._lm_eval_choices import OWN as OF_LM_EVAL
from .._schema import did_you_mean, predicate
from .._scores import Filter
from ._proxy_metrics import ALONE, NEEDS
from ._proxy_metrics import choice_metrics as proxy_metrics

Floats = NDArray[np.float64]

#: Metrics that are computed unless others are named: all but the one that has no direction.
DEFAULT = tuple(name for name in NEEDS if name != "sum_logits_incorr")

_MISSING = {
    "characters": "whose choices have no lengths",
    "bytes": "whose choices have no lengths in bytes",
    "scored_bytes": "whose choices have no lengths in bytes",
    "tokens": "without token counts",
    "unconditional": "without unconditional log-likelihoods",
}
_WEIGHT = "scored bytes"
_DIFFERS = (
    "the harness' own value of the instance is another than its choices give; rows hold what the choices give: see "
    "whether the harness normalises otherwise or the dump was edited"
)
_POSITIVE = "a log-likelihood above 0 is that of no probability; evaluate the instance again"
_NAN = "a log-likelihood is nan, and with it every metric of its instance: see whether the model is sound"
_SAME = 1e-9


def choice_metrics(
    source: Source | Sequence[Source],
    *,
    metrics: str | Sequence[str] | None = None,
    where: Filter = None,
    format: str = "auto",  # noqa: A002 (the public keyword)
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    r"""Compute every metric of multiple-choice instances again from the log-likelihoods of their choices.

    With l_c the log-likelihood of choice c (nats), c* the right one, and x_c = l_c, or l_c over the length of c, or l_c
    less its unconditional log-likelihood: accuracy 1[first argmax x = c*], ``correct_prob`` exp x_{c*}, ``total_prob``
    sum exp x_c, ``norm_correct_prob`` their ratio q_{c*}, ``margin`` exp x_{c*} - max_{c != c*} exp x_c,
    ``brier_score`` sum (q_c - 1[c = c*])^2, ``bits_per_byte`` -l_{c*}/(ln 2 bytes).

    Parameters
    ----------
    source
        Dumps: a file, a directory, a glob, a URL or a list of these. Samples of lm-eval, predictions of OLMES and
        details of lighteval hold log-likelihoods of choices; other files are left unread.
    metrics
        Names, of these (default: all but the last): ``acc_raw``, ``acc_uncond``, ``correct_prob``,
        ``norm_correct_prob``, ``total_prob``, ``margin``; ``acc``, ``correct_prob``, ``norm_correct_prob``,
        ``total_prob`` and ``margin`` followed by ``_per_char``, ``_per_byte``, ``_per_token``; ``bits_per_byte``,
        ``brier_score``, ``sum_logits_corr``, ``logits_per_char_corr``, ``logits_per_token_corr``,
        ``sum_logits_incorr``. ``acc``, ``acc_norm``, ``acc_bytes`` and ``acc_mutual_info`` of lm-eval are ``acc_raw``,
        ``acc_per_char``, ``acc_per_byte`` and ``acc_uncond``. Other names of one metric are understood
        (``logp_vocab_correct`` for ``sum_logits_corr``, ``prob_vocab_correct`` for ``correct_prob``,
        ``prob_choices_correct`` for ``norm_correct_prob``).
    where
        Rows to keep: a Polars expression or a SQL predicate over the columns of the result.
    format
        As in `scan_scores`.
    strict
        Raise at the first problem of a file.
    threads
        Number of threads that may read.

    Returns
    -------
    DataFrame
        Instance rows of the score table, one for each instance and metric: ``run, revision, step, .., task, subtask,
        config, metric, filter, instance_id, value, weight, source``. Values are fractions (accuracies, probabilities),
        nats (``sum_logits_..``, ``logits_..``) or bits/byte. ``weight`` is 1, for ``bits_per_byte`` the bytes, so that
        the score of a task is that of all its right answers together.

    Undefined when
        An instance whose lengths, token counts or unconditional log-likelihoods are not recorded has no row of the
        metrics that need them, and a warning counts it; nothing is guessed. So has one without a single right choice.
        One choice alone (LAMBADA) has probabilities, log-likelihoods and bits per byte, and nothing that compares
        choices. Where a log-likelihood is NaN every value is.

    Raises
    ------
    ReadError
        If no file holds log-likelihoods of choices; with ``strict`` at the first problem.
    OptionError
        For a metric that is none of those above.

    Notes
    -----
    What counts as length is what the harness itself divides by. lm-eval does not count the delimiter (a blank) between
    question and choice, OLMES and lighteval do. ``bits_per_byte`` alone divides by all bytes that were scored, the
    blank included, in all of them, because the log-likelihood is theirs. Of tied choices the first is taken, as by the
    harnesses. Where they stored an accuracy (OLMES: a log-likelihood) of the instance it is compared with ours, and a
    difference is told. Where choices differ in their contexts before one continuation (WinoGrande in lm-eval), lengths
    do not matter, and the right one of two is told by the harness' accuracy.

    Probabilities with a length are exp(l/length), as in DataDecide: geometric means per character, byte or token.
    Their ``total_prob`` exceeds 1.

    References
    ----------
    Magnusson et al. 2025, "DataDecide", arXiv 2504.11393, section 2.3; Schaeffer et al. 2024, arXiv 2406.04391.

    Examples
    --------
    >>> import json, os, tempfile
    >>> import signoise as sn
    >>> choices = [" granite", " a cloud"]
    >>> row = {"doc_id": 0, "doc": {}, "target": 0, "filtered_resps": [[-2.0, True], [-2.5, False]]}
    >>> row["arguments"] = [["Which is a rock?", text] for text in choices]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(os.path.join(folder, "samples_rocks.jsonl"), "w") as file:
    ...         _ = file.write(json.dumps(row))
    ...     table = sn.choice_metrics(folder, metrics=["acc_raw", "bits_per_byte"])
    >>> table.select("metric", "value", "weight").rows()
    [('acc_raw', 1.0, 1.0), ('bits_per_byte', 0.36067376022224085, 8.0)]
    """
    check_threads(threads)
    names = _names(metrics)
    opened = open_source(source, format=format, strict=strict)
    table, missing = of_opened(opened, names, threads=threads)
    if table is None:
        raise ReadError(
            f"{source}: no file holds log-likelihoods of choices; looked for samples of lm-eval, predictions of OLMES "
            "and details of lighteval" + "".join(f"; {line}" for line in opened.report.notes)
        )
    opened.report.warn()
    tell_missing(missing, asked=metrics is not None)
    condition = predicate(where, "where", table.schema)
    return table if condition is None else table.filter(condition)


def of_opened(
    opened: Opened, metrics: Sequence[str], *, threads: int | None = None
) -> tuple[pl.DataFrame | None, Counter[tuple[str, str]]]:
    """Rows of what a source holds, None without any, and how many instances lack what a metric needs."""
    sources: dict[int, _Source] = {}
    planned = []
    for one in opened.planned:
        if isinstance(one.dump, ChoosingDump):
            dump = sources.setdefault(id(one.dump), _Source(one.dump, tuple(metrics), opened.report))
            planned.append(Planned(dump, one.part))
    labels = filled_labels([one.part for one in planned])
    frames = [
        lengthen(batch, labels).filter(pl.col("value").is_not_null())
        for batch in batches(planned, opened.report, threads=threads)
        if batch.rows.height
    ]
    frames = [frame for frame in frames if frame.height]
    compared = sum((dump.compared for dump in sources.values()), Counter[str]())
    if compared["compared"]:
        equal = f"{compared['equal']} of {compared['compared']} metrics of instances equal the harness' own"
        opened.report.note(f"self-check: {equal}")
    missing = sum((dump.missing for dump in sources.values()), Counter[tuple[str, str]]())
    return pl.concat(frames, how="diagonal") if frames else None, missing


def tell_missing(missing: Mapping[tuple[str, str], int], *, asked: bool) -> None:
    """Warn once of metrics that some instances lack; that a harness does not record something is no loss of rows."""
    if not missing:
        return
    kinds: dict[tuple[str, int], list[str]] = {}
    for (metric, need), count in missing.items():
        kinds.setdefault((_MISSING[need], count), []).append(metric)
    text = "; ".join(
        f"no row of {', '.join(names)} for {count} instance{'s' * (count != 1)} {why}"
        for (why, count), names in kinds.items()
    )
    warnings.warn(text, DroppedRowsWarning if asked else SignoiseWarning, stacklevel=3)


def _names(metrics: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of metrics as they stand in the result."""
    if metrics is None:
        return DEFAULT
    found = []
    for name in [metrics] if isinstance(metrics, str) else metrics:
        known = lookup(name)
        ours = OF_LM_EVAL.get(name, name if known is None else known.name)
        if ours not in NEEDS:
            raise OptionError(
                f"metrics: {name!r} is no metric of choices{did_you_mean(name, NEEDS)} (they are {', '.join(NEEDS)})"
            )
        found.append(ours)
    return tuple(dict.fromkeys(found))


@dataclass
class _Source:
    """A dump of a harness whose instances have the metrics of their choices in place of the harness' own."""

    dump: ChoosingDump
    metrics: tuple[str, ...]
    report: ReadReport
    missing: Counter[tuple[str, str]] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    """With the harness' own values of instances, and how many are equal."""

    def results(self) -> None:
        """The harness' own scores are none of these."""

    def parts(self) -> list[Part]:
        """Parts are planned by the dump itself."""
        return []

    def load(self, parts: Sequence[Part]) -> Batch:
        """Instance rows of some parts."""
        choices = self.dump.choices(parts)
        values = proxy_metrics(
            choices.quantities["loglikelihood"],
            choices.offsets,
            choices.right,
            **{name: held for name, held in choices.quantities.items() if name != "loglikelihood"},
        )
        _check(values, choices, parts, self.report, self.compared)
        columns: dict[str, Any] = {}
        broken = np.isnan(_over(np.add, choices, choices.quantities["loglikelihood"]))
        alone = np.diff(choices.offsets) < 2
        for name in self.metrics:
            there = np.ones(len(broken), dtype=bool)
            if (need := NEEDS[name]) is not None:
                there = _recorded(choices, name, need)
                lacking = int(np.count_nonzero(~there if name in ALONE else ~there & ~alone))
                if lacking:
                    self.missing[name, need] += lacking
            there &= broken | ~np.isnan(values[name])
            if name not in ALONE:
                there &= ~alone
            columns[name] = pl.select(pl.when(pl.Series(there)).then(pl.Series(values[name]))).to_series()
        weights = {}
        if "bits_per_byte" in columns:
            weights["bits_per_byte"] = _WEIGHT
            right = choices.offsets[:-1] + choices.right
            columns[_WEIGHT] = pl.Series(choices.quantities["scored_bytes"][right], nan_to_null=True)
        rows = choices.rows.hstack([column.alias(name) for name, column in columns.items()])
        return Batch(parts, rows, list(self.metrics), weights)


def _over(function: np.ufunc, choices: Choices, values: Floats) -> Floats:
    starts = choices.offsets[:-1].astype(np.intp)
    return function.reduceat(values, starts) if len(starts) else np.zeros(0)


def _recorded(choices: Choices, name: str, need: str) -> NDArray[np.bool_]:
    """Whether what a metric needs is there: of the right choice alone, or of all."""
    held = choices.quantities[need]
    if name in ("bits_per_byte", "logits_per_char_corr", "logits_per_token_corr"):
        return ~np.isnan(held[choices.offsets[:-1] + choices.right])
    return ~np.isnan(_over(np.add, choices, held))


def _check(
    values: Mapping[str, Floats],
    choices: Choices,
    parts: Sequence[Part],
    report: ReadReport,
    compared: Counter[str],
) -> None:
    """Compare with what the harness stored, and tell of log-likelihoods that are none."""
    for name, own in choices.own.items():
        both = np.isfinite(own) & np.isfinite(values[name])
        near = np.abs(own - values[name]) <= _SAME * np.maximum(1.0, np.abs(own))
        compared["compared"] += int(np.count_nonzero(both))
        compared["equal"] += int(np.count_nonzero(both & near))
        _doubt(_DIFFERS, both & ~near, choices, parts, report, f"{name} of instance")
    highest = _over(np.maximum, choices, choices.quantities["loglikelihood"])
    _doubt(_POSITIVE, highest > _SAME, choices, parts, report, "instance")
    _doubt(_NAN, np.isnan(highest), choices, parts, report, "instance")


def _doubt(
    reason: str,
    rows: NDArray[np.bool_],
    choices: Choices,
    parts: Sequence[Part],
    report: ReadReport,
    what: str,
) -> None:
    part = choices.rows["part"].to_numpy()
    for at in np.unique(part[rows]):
        mine = np.flatnonzero(rows & (part == at))
        first = choices.rows.row(int(mine[0]), named=True)
        found = f"{what} {first['instance_id']}"
        report.doubt(reason, parts[at].file.label, first["line"], found=found, count=len(mine))
