"""What is known about a metric: direction, bounds, unit, how instances aggregate. The only home of direction.

A metric that is not known here has no direction: it can be described, but a verb that ranks refuses it until
the user declares one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from ._errors import OptionError, UnknownMetricError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Direction = Literal["higher", "lower"]
Aggregate = Literal["mean", "ratio", "perplexity", "corpus"]


@dataclass(frozen=True)
class Metric:
    """One metric of the field.

    Attributes
    ----------
    name : str
        The one name used here; aliases (``bpb``, ``logits_per_byte_corr``) lead to it.
    direction : {"higher", "lower"} or None
        Which way is better; None where nobody agrees.
    low, high : float or None
        Bounds of a single score; None where there is none.
    unit : str
        ``fraction``, ``points`` (0 to 100 or 0 to 1, by tool), ``bits/byte``, ``nats``, ``perplexity``, ...
    aggregate : {"mean", "ratio", "perplexity", "corpus"}
        From instances to a task: mean of instances; sum(value*weight)/sum(weight); exp of a mean or ratio; or
        a statistic of the whole corpus that instances do not determine (BLEU, F1 over classes, correlations).
    accuracy : bool
        Share of items answered right, so that a chance level makes sense.
    """

    name: str
    direction: Direction | None
    low: float | None
    high: float | None
    unit: str
    aggregate: Aggregate = "mean"
    accuracy: bool = False


_Bounds = tuple[float | None, float | None]

_FRACTION: _Bounds = (0.0, 1.0)
_AT_MOST_ZERO: _Bounds = (None, 0.0)
_AT_LEAST_ZERO: _Bounds = (0.0, None)


def _family(
    unit: str,
    direction: Direction | None,
    bounds: _Bounds,
    names: str,
    *,
    aggregate: Aggregate = "mean",
    accuracy: bool = False,
) -> list[Metric]:
    return [Metric(name, direction, *bounds, unit, aggregate, accuracy) for name in names.split()]


_TABLE: list[Metric] = [
    # Shares of items answered right. `len_norm` and `soft` are names of in-loop evaluations.
    *_family(
        "fraction",
        "higher",
        _FRACTION,
        "acc acc_norm acc_raw acc_per_char acc_per_token acc_per_byte acc_uncond acc_norm_nospace acc_bytes "
        "acc_mutual_info acc_completion accuracy balanced_accuracy len_norm mc1 mc2 loglikelihood_acc",
        accuracy=True,
    ),
    *_family(
        "fraction",
        "higher",
        _FRACTION,
        "exact_match em qem pem pqem quasi_exact_match prefix_exact_match prefix_quasi_exact_match "
        "quasi_prefix_exact_match final_number_exact_match exact_match_indicator extractive_match math_equiv "
        "math_equiv_chain_of_thought math_verify code_eval_acc contains contains_match is_correct correct "
        "f1_set_match pass_rate win_rate resolved anls relaxed_accuracy",
    ),
    *_family("fraction", "higher", _FRACTION, "f1 f1_score f1a recall precision iou_set_match"),
    *_family("fraction", "higher", _FRACTION, "mrr ndcg ndcg@10 rr@10 map"),
    *_family(
        "fraction",
        "higher",
        _FRACTION,
        "macro_f1 micro_f1 f1_macro f1_micro classification_macro_f1 classification_micro_f1 "
        "auroc auc roc_auc",
        aggregate="corpus",
    ),
    *_family(
        "correlation",
        "higher",
        (-1.0, 1.0),
        "mcc matthews_correlation matthews_corrcoef pearson pearsonr pearson_correlation spearman "
        "spearmanr spearman_correlation kendall_tau kappa cohen_kappa",
        aggregate="corpus",
    ),
    # Probability of the right continuation, and differences of such.
    *_family("fraction", "higher", _FRACTION, "soft likelihood total_prob correct_prob norm_correct_prob"),
    *_family("fraction", "higher", (-1.0, 1.0), "margin"),
    # Log-probabilities.
    *_family(
        "nats",
        "higher",
        _AT_MOST_ZERO,
        "logprob log_prob loglikelihood soft_log sum_logits_corr correct_logit logits_per_token_corr "
        "logits_per_char_corr",
    ),
    # Of the wrong choices together: it rises with all of them and falls with the right one.
    *_family("nats", None, (None, None), "sum_logits_incorr"),
    # Losses.
    *_family(
        "nats",
        "lower",
        _AT_LEAST_ZERO,
        "loss ce_loss cross_entropy crossentropyloss cross_entropy_loss nll ce",
    ),
    *_family("bits/byte", "lower", _AT_LEAST_ZERO, "bits_per_byte", aggregate="ratio"),
    *_family(
        "perplexity",
        "lower",
        (1.0, None),
        "perplexity word_perplexity byte_perplexity",
        aggregate="perplexity",
    ),
    # Text overlap. Tools disagree about the scale (0 to 100 or 0 to 1): the wider one is the bound.
    *_family(
        "points", "higher", (0.0, 100.0), "bleu sacrebleu chrf chrf++ gleu bleu_max", aggregate="corpus"
    ),
    *_family("points", "higher", (0.0, 100.0), "bleu_1 bleu_4 meteor"),
    *_family("points", "lower", _AT_LEAST_ZERO, "ter wer cer", aggregate="corpus"),
    # Calibration and harm.
    *_family("fraction", "lower", (0.0, 2.0), "brier brier_score"),
    *_family(
        "fraction",
        "lower",
        _FRACTION,
        "ece ece_1_bin ece_10_bin expected_calibration_error",
        aggregate="corpus",
    ),
    *_family("fraction", "lower", _FRACTION, "error error_rate err toxicity toxic_frac"),
    # CrowS-Pairs: the harness declares both lower-is-better; the ideal share of stereotypes is one half.
    *_family("fraction", "lower", _FRACTION, "pct_stereotype"),
    *_family("nats", "lower", _AT_LEAST_ZERO, "likelihood_difference"),
    # The main metric of a task as its authors chose it; the tool that writes the name makes higher better.
    *_family("task's own", "higher", (None, None), "primary_score"),
]

_ALIASES = {
    "bpb": "bits_per_byte",
    "logits_per_byte": "bits_per_byte",
    "logits_per_byte_corr": "bits_per_byte",
    "bits_per_byte_corr": "bits_per_byte",
    "logp_vocab_correct": "sum_logits_corr",
    "prob_vocab_correct": "correct_prob",
    "prob_choices_correct": "norm_correct_prob",
    "ppl": "perplexity",
    "likelihood_diff": "likelihood_difference",
}

_BY_NAME = {metric.name: metric for metric in _TABLE}

_PASS_AT = re.compile(r"(?:.*_)?(?:pass|avg|maj|cons|g-pass|coverage)(?:@|_at_|\^)\d+(?:[:_].*)?")
_AT_K = re.compile(r"(?P<of>[^@]+)@\d+")
_BY_PREFIX: list[tuple[re.Pattern[str], Metric]] = [
    (_PASS_AT, Metric("pass@k", "higher", 0.0, 1.0, "fraction")),
    (
        re.compile(r"(?:norm_)?correct_prob(?:_.*)?"),
        Metric("correct_prob", "higher", 0.0, 1.0, "fraction"),
    ),
    # Roots of probabilities: those of several choices add up to more than 1.
    (re.compile(r"total_prob_.*"), Metric("total_prob", "higher", 0.0, None, "fraction")),
    (re.compile(r"margin_.*"), Metric("margin", "higher", -1.0, 1.0, "fraction")),
    (re.compile(r"correct_logit_.*"), Metric("correct_logit", "higher", None, 0.0, "nats")),
    (re.compile(r"(?:bleu|rouge[12l](?:sum)?)_acc"), Metric("rouge_acc", "higher", 0.0, 1.0, "fraction")),
    (
        re.compile(r"(?:bleu|rouge[12l](?:sum)?)_diff"),
        Metric("rouge_diff", "higher", -100.0, 100.0, "points", "corpus"),
    ),
    (re.compile(r"rouge.*"), Metric("rouge", "higher", 0.0, 100.0, "points")),
]
# In this order: `_perplexity` before anything shorter. A "_stderr" is an error of a score, not a score.
_BY_SUFFIX: list[tuple[tuple[str, ...], Metric]] = [
    (("_stderr", "_std"), Metric("", None, None, None, "")),
    (("_perplexity", "_ppl"), _BY_NAME["perplexity"]),
    (("_bits_per_byte", "_bpb"), _BY_NAME["bits_per_byte"]),
    (("_accuracy", "_acc", "_acc_norm", "_len_norm"), _BY_NAME["acc"]),
    (("_exact_match", "_em"), _BY_NAME["exact_match"]),
    (("_f1",), _BY_NAME["f1"]),
    (("_error_rate",), _BY_NAME["error_rate"]),
    (("_nll", "_cross_entropy", "_loss"), _BY_NAME["loss"]),
    (("_error", "_err"), Metric("error", "lower", 0.0, None, "task's own")),
]


@lru_cache(maxsize=4096)
def lookup(name: str) -> Metric | None:
    """What is known about a metric, or None.

    Parameters
    ----------
    name : str
        As written by the tool; upper case, a trailing ``,filter`` and a leading ``path/`` do not matter.

    Returns
    -------
    Metric or None
        Its ``name`` is the canonical one for aliases (``bpb`` -> ``bits_per_byte``) and the name asked for
        where a whole family shares a rule (``pass@10``).

    Examples
    --------
    >>> lookup("bpb").name, lookup("bpb").direction
    ('bits_per_byte', 'lower')
    >>> lookup("exact_match,strict-match").direction
    'higher'
    >>> lookup("vibes") is None
    True
    """
    bare = name.partition(",")[0].strip().lower()
    found = _lookup_bare(bare)
    if found is None and "/" in bare:
        found = _lookup_bare(bare.rpartition("/")[2])
    return found


def _lookup_bare(bare: str) -> Metric | None:
    known = _BY_NAME.get(_ALIASES.get(bare, bare))
    if known is not None:
        return known
    for pattern, family in _BY_PREFIX:
        if pattern.fullmatch(bare):
            return replace(family, name=bare)
    for suffixes, family in _BY_SUFFIX:
        if bare.endswith(suffixes):
            return replace(family, name=bare) if family.name else None
    # The best, or the first right, of k: a share as before, but no longer one that chance explains.
    if (best := _AT_K.fullmatch(bare)) and (base := _lookup_bare(best["of"])) and base.unit == "fraction":
        return replace(base, name=bare, accuracy=False)
    return None


def aggregation(name: str) -> Aggregate:
    """How instances become the score of a task; the mean where nothing is known."""
    metric = lookup(name)
    return "mean" if metric is None else metric.aggregate


def missing_infinities(name: str | None) -> tuple[bool, bool]:
    """Whether -inf and +inf are beyond a bound of the metric: such a score is missing, any other infinity is one.

    Examples
    --------
    >>> missing_infinities("acc"), missing_infinities("bits_per_byte"), missing_infinities("vibes")
    ((True, True), (True, False), (False, False))
    """
    metric = None if name is None else lookup(name)
    return (False, False) if metric is None else (metric.low is not None, metric.high is not None)


def is_known(name: str) -> bool:
    """Whether the table knows this metric (so that a column of that name holds scores)."""
    return lookup(name) is not None


def is_listed(name: str) -> bool:
    """Whether the table lists this very name, or its family, and does not only know how it ends.

    Examples
    --------
    >>> is_listed("len_norm"), is_listed("pass@10"), is_listed("hellaswag_len_norm")
    (True, True, False)
    """
    bare = name.strip().lower()
    if _ALIASES.get(bare, bare) in _BY_NAME or any(pattern.fullmatch(bare) for pattern, _ in _BY_PREFIX):
        return True
    best = _AT_K.fullmatch(bare)
    return best is not None and _lookup_bare(bare) is not None and is_listed(best["of"])


def is_accuracy(name: str) -> bool:
    """Whether the metric is a share of items answered right, so that a chance level applies to it."""
    metric = lookup(name)
    return metric is not None and metric.accuracy


def direction(name: str, declared: Mapping[str, str] | None = None) -> int | None:
    """+1 where higher is better, -1 where lower is, None where it is not known; what the user declared wins.

    Raises
    ------
    OptionError
        If a declared direction is neither ``higher`` nor ``lower``.
    """
    word = _declared_direction(name, declared)
    if word is None:
        metric = lookup(name)
        word = metric.direction if metric is not None else None
    return None if word is None else (1 if word == "higher" else -1)


def _declared_direction(name: str, declared: Mapping[str, str] | None) -> str | None:
    if not declared:
        return None
    bare = name.partition(",")[0]
    folded = {key.lower(): word for key, word in declared.items()}
    for candidate in (name, bare):
        word = declared.get(candidate, folded.get(candidate.lower()))
        if word is not None:
            if word not in ("higher", "lower"):
                raise OptionError(
                    f"direction of metric {candidate!r} is {word!r}; it must be 'higher' or 'lower' "
                    f"(which of the two is better)"
                )
            return word
    return None


def require_direction(names: Iterable[str], declared: Mapping[str, str] | None = None) -> dict[str, int]:
    """Direction of every metric, for a verb that ranks.

    Raises
    ------
    UnknownMetricError
        Naming every metric without a direction, and how to declare it.
    """
    found = {name: direction(name, declared) for name in dict.fromkeys(names)}
    unknown = sorted(name for name, sign in found.items() if sign is None)
    if unknown:
        listed = ", ".join(repr(name) for name in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        first = unknown[0]
        raise UnknownMetricError(
            f"{len(unknown)} metric(s) without a known direction: {listed}. Ranking needs to know which way "
            f'is better: pass direction={{"{first}": "higher"}} or --direction {first}=higher ("lower" for '
            f"losses and errors), or leave the metric out with where"
        )
    return {name: sign for name, sign in found.items() if sign is not None}
