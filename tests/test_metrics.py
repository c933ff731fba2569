"""The metric table and the chance levels."""

from __future__ import annotations

import pytest

from signoise._chance import chance_level
from signoise._errors import OptionError, UnknownMetricError
from signoise._metrics import (
    _TABLE,
    direction,
    is_accuracy,
    is_listed,
    lookup,
    missing_infinities,
    require_direction,
)

HIGHER = (
    "acc acc_norm accuracy exact_match f1 em pass@1 pass@10 pass_at_1 math_pass@1:16_samples mcc bleu "
    "rouge1 rougeL rouge2_acc chrf mc1 mc2 quasi_exact_match primary_score logprob acc_raw acc_per_char "
    "acc_per_token acc_per_byte acc_uncond correct_prob correct_prob_per_char norm_correct_prob margin "
    "margin_per_byte total_prob soft soft_log len_norm prompt_level_strict_acc logits_per_char_corr "
    "classification_macro_f1 eval/downstream/arc_easy_len_norm gsm8k_exact_match"
)
LOWER = (
    "ter ppl perplexity word_perplexity byte_perplexity bits_per_byte bpb logits_per_byte_corr "
    "bits_per_byte_corr loss ce_loss cross_entropy nll brier brier_score error word_error c4_loss rel_err "
    "toxicity likelihood_difference likelihood_diff pct_stereotype train/loss eval/pile/CrossEntropyLoss "
    "c4_ppl wer"
)


@pytest.mark.parametrize(("names", "sign"), [(HIGHER, 1), (LOWER, -1)])
def test_directions(names, sign):
    assert {name: direction(name) for name in names.split()} == dict.fromkeys(names.split(), sign)


@pytest.mark.parametrize(
    "name", ["vibes", "acc_stderr", "step", "n", "seed", "", "passable", "params", "score"]
)
def test_unknown_names_have_no_direction(name):
    assert direction(name) is None
    assert lookup(name) is None


def test_of_k_attempts():
    """``metric@k`` is a share in the direction of the metric; only shares have such a form."""
    for name in (
        "exact_match@5",
        "Recall@10",
        "acc@1",
        "ndcg@20",
        "gsm8k_exact_match@5,none",
        "error_rate@2",
    ):
        metric = lookup(name)
        assert (metric.low, metric.high, metric.aggregate) == (0, 1, "mean"), name
        assert direction(name) == (-1 if "error" in name else 1)
        assert not is_accuracy(name)
    assert is_listed("exact_match@5")
    assert is_listed("pass@5")
    assert is_listed("ndcg@10")
    assert not is_listed("gsm8k_exact_match@5")
    for name in ("vibes@5", "loss@5", "exact_match@", "@5", "exact_match@5@5", "acc_stderr@5"):
        assert lookup(name) is None
        assert not is_listed(name)


def test_filter_and_case_do_not_matter():
    assert lookup("Exact_Match,strict-match") == lookup("exact_match")
    for alias in ("bpb", "logits_per_byte_corr", "bits_per_byte_corr", "BPB"):
        assert lookup(alias) == lookup("bits_per_byte")
    assert lookup("logits_per_char_corr").name == "logits_per_char_corr"
    assert lookup("ppl") == lookup("perplexity")


def test_every_metric_is_consistent():
    names = [metric.name for metric in _TABLE]
    assert len(names) == len(set(names))
    for metric in _TABLE:
        assert metric.low is None or metric.high is None or metric.low < metric.high
        assert not metric.accuracy or (metric.low, metric.high, metric.direction) == (0, 1, "higher")
        assert lookup(metric.name) is metric


def test_how_metrics_aggregate():
    assert lookup("acc").aggregate == "mean"
    assert lookup("bits_per_byte").aggregate == "ratio"
    assert lookup("word_perplexity").aggregate == "perplexity"
    assert lookup("bleu").aggregate == "corpus"


def test_infinities_beyond_a_bound_are_missing():
    names = ("acc", "bits_per_byte", "logprob", "vibes", None)
    found = [missing_infinities(name) for name in names]
    assert found == [(True, True), (True, False), (False, True), (False, False), (False, False)]


def test_declared_direction_wins():
    assert direction("vibes", {"vibes": "higher"}) == 1
    assert direction("acc", {"acc": "lower"}) == -1
    assert direction("acc,none", {"ACC": "lower"}) == -1
    with pytest.raises(OptionError, match=r"'up'.*'higher' or 'lower'"):
        direction("acc", {"acc": "up"})


def test_ranking_refuses_unknown_metrics_with_a_remedy():
    assert require_direction(["acc", "ppl", "acc"]) == {"acc": 1, "ppl": -1}
    assert require_direction(["vibes"], {"vibes": "lower"}) == {"vibes": -1}
    with pytest.raises(UnknownMetricError) as caught:
        require_direction(["acc", "vibes", "aura"])
    message = str(caught.value)
    assert "'aura', 'vibes'" in message
    assert 'direction={"aura": "higher"}' in message
    assert "--direction aura=higher" in message


def test_accuracies():
    assert all(is_accuracy(name) for name in ("acc", "acc_norm,none", "accuracy", "inst_level_loose_acc"))
    assert not any(is_accuracy(name) for name in ("exact_match", "f1", "ppl", "vibes", "acc_stderr"))


@pytest.mark.parametrize(
    ("task", "level"),
    [
        ("boolq", 0.5),
        ("winogrande", 0.5),
        ("arc_easy", 0.25),
        ("ARC-Challenge", 0.25),
        ("arc_easy:rc::olmes", 0.25),
        ("mmlu_virology", 0.25),
        ("mmlu", 0.25),
        ("hendrycksTest-virology", 0.25),
        ("csqa", 0.2),
        ("socialiqa", 1 / 3),
        ("mmlu_pro", None),
        ("mmlu_pro_law", None),
        ("gsm8k", None),
        ("lambada_openai", None),
        ("humaneval", None),
        ("truthfulqa_mc1", None),
        ("anything_else", None),
    ],
)
def test_chance_levels(task, level):
    assert chance_level(task) == level


def test_declared_chance_wins():
    assert chance_level("mine", {"mine": 0.1}) == 0.1
    assert chance_level("mine_3", {"mine_*": 0}) == 0.0
    assert chance_level("boolq", {"boolq": 0.62}) == 0.62
    with pytest.raises(OptionError, match="from 0 to 1"):
        chance_level("mine", {"mine": 25})
