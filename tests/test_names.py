"""What names of checkpoints say, and what they must not be taken to say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoise._names import parse_name, parse_size, split_checkpoint


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("150M", 150_000_000),
        ("1.4B", 1_400_000_000),
        ("70b", 70_000_000_000),
        ("6.9b", 6_900_000_000),
        ("1.4e9", 1_400_000_000),
        ("25K", 25_000),
        (" 7B ", 7_000_000_000),
        ("124439808", 124_439_808),
        ("1,000", 1000),
        *[
            (bad, None)
            for bad in ("", "M", "5xC", "8x7B", "0", "-1", "1e99", "nan", "1.4.5B", "٣M", "7Bx", "1e")
        ],
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@given(st.integers(1, 10**6), st.sampled_from("kKmMbBtT"))
def test_sizes_are_exact(number, unit):
    power = {"k": 3, "m": 6, "b": 9, "t": 12}[unit.lower()]
    assert parse_size(f"{number}{unit}") == number * 10**power
    assert parse_size(f"{number}.5{unit}") == number * 10**power + 5 * 10 ** (power - 1)


@pytest.mark.parametrize(
    ("revision", "step", "tokens", "seed", "stage"),
    [
        ("step1000", 1000, None, None, None),
        ("step143000", 143000, None, None, None),
        ("stage1-step1610000-tokens3377B", 1610000, 3377e9, None, 1),
        ("stage2-ingredient3-step11931-tokens50B", 11931, 50e9, None, 2),
        ("step1000-tokens4B", 1000, 4e9, None, None),
        ("step5000-tokens21M", 5000, 21e6, None, None),
        ("step38157-seed-default", 38157, None, 1, None),
        ("step38157-seed-small-aux-2", 38157, None, 2, None),
        ("step8145-unsharded-hf", 8145, None, None, None),
        ("step81342-hf", 81342, None, None, None),
        ("checkpoint-500", 500, None, None, None),
        ("iter_0001000", 1000, None, None, None),
        ("global_step1000", 1000, None, None, None),
        ("ckpt_1000", 1000, None, None, None),
        ("epoch=1-step=1000.ckpt", 1000, None, None, None),
        ("ba1000", 1000, None, None, None),
        ("300B-tokens", None, 300e9, None, None),
        ("a" * 40, None, None, None, None),
        ("v1.0", None, None, None, None),
        ("stepfun", None, None, None, None),
        ("2-step", None, None, None, None),
        ("7B", None, None, None, None),
    ],
)
def test_revisions(revision, step, tokens, seed, stage):
    parsed = parse_name("org/model", revision)
    assert (parsed.run, parsed.revision) == ("org/model", revision)
    assert (parsed.step, parsed.tokens, parsed.seed, parsed.stage) == (step, tokens, seed, stage)


@pytest.mark.parametrize(
    ("name", "run", "revision", "step"),
    [
        ("org/beta-step3000", "org/beta", "step3000", 3000),
        ("org/beta_step3000", "org/beta", "step3000", 3000),
        ("org/beta/step3000", "org/beta", "step3000", 3000),
        ("org/beta@step3000", "org/beta", "step3000", 3000),
        ("./runs/beta/checkpoint-500/", "./runs/beta", "checkpoint-500", 500),
        ("/data/beta/global_step10/hf", "/data/beta", "global_step10", 10),
        ("160m-deduped_step512", "160m-deduped", "step512", 512),
        (
            "TinyLlama/TinyLlama-1.1B-intermediate-step-955k-token-2T",
            "TinyLlama/TinyLlama-1.1B",
            "intermediate-step-955k-token-2T",
            955_000,
        ),
        ("org/OLMo-7B-stage1-step10-tokens1B", "org/OLMo-7B", "stage1-step10-tokens1B", 10),
        # A seed before the step tells runs apart.
        ("pythia-14m-seed1-step1000", "pythia-14m-seed1", "step1000", 1000),
        ("step1000", None, "step1000", 1000),
        *[
            (name, name, None, None)
            for name in (
                "EleutherAI/pythia-160m-deduped",
                "EleutherAI/pythia-410m-0.5MtokBS",
                "stepfun-ai/step3",
                "stepfun-ai/Step-3.5-Flash",
                "stepfun-ai/Step-Audio-2",
                "org/model-2-step",
                "org/2-step-7",
                "org/multi-step-8",
                "org/model-step1000-chat",
                "org/llama-7B-tokens",
                "org/footstep12",
                "org/model-step1.5",
                "OLMo2-data-seed-01345-1B-5xC",
                "meta-llama/Llama-2-7b-hf",
            )
        ],
    ],
)
def test_names(name, run, revision, step):
    parsed = parse_name(name)
    assert (parsed.run, parsed.revision, parsed.step) == (run, revision, step)


def test_tokens_are_not_model_or_batch_sizes():
    for name in ("org/model-7B", "pythia-410m-0.5MtokBS", "org/7B-tokens", "fineweb-100BT", "max-tokens-512"):
        assert parse_name(name).tokens is None
        assert parse_name("org/model", None, f"runs/{name}.json").tokens is None


def test_data_seeds_and_sizes():
    parsed = parse_name("OLMo2-data-seed-01345-1B-5xC")
    assert (parsed.seed, parsed.params) == (1345, 10**9)
    assert parse_name("org/pythia-160m-deduped").params == 160_000_000
    assert parse_name("org/Mixtral-8x7B").params is None


def test_order_of_precedence():
    both = parse_name("org/model-step5", "step7", "model_step9.json")
    assert (both.run, both.revision, both.step) == ("org/model", "step7", 7)
    assert parse_name("org/model-step5", "main", "model_step9.json").step == 5
    assert parse_name("org/model", None, "model_step9.json").step == 9
    assert parse_name("org/model", None, "model_step9.json").revision == "step9"
    assert parse_name("org/model", "main", "step9/results.json").step == 9
    assert parse_name("org/model", "main").revision == "main"
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert parse_name("org/model-step5", commit).step == 5
    assert parse_name("org/model-step5", commit).revision == commit


WORDS = st.sampled_from(
    ["pythia", "160m", "1.4b", "OLMo", "deduped", "7B", "5xC", "mix", "data", "x2", "bf16", "v1.1"]
)
STEPS = st.integers(0, 10**15 - 1)


@given(st.lists(WORDS, min_size=1, max_size=5), STEPS, st.sampled_from(["-", "_", "/", "@"]))
def test_a_trailing_step_comes_off(words, step, joint):
    run = "-".join(words)
    parsed = parse_name(f"org/{run}{joint}step{step}")
    assert (parsed.run, parsed.revision, parsed.step) == (f"org/{run}", f"step{step}", step)


@given(st.lists(WORDS, min_size=1, max_size=5), STEPS)
def test_a_name_without_checkpoint_is_kept(words, step):
    run = "org/" + "-".join(words)
    assert split_checkpoint(run) == (run, None)
    assert parse_name(run, f"step{step}").step == step


@given(st.text(max_size=60), st.none() | st.text(max_size=30), st.none() | st.text(max_size=30))
def test_any_text_is_parsed(name, revision, file):
    parsed = parse_name(name, revision, file)
    assert parsed.run is None or name.startswith(parsed.run)
    assert parsed.step is None or 0 <= parsed.step < 2**63
    assert parsed.seed is None or 0 <= parsed.seed < 2**63
    assert parsed.params is None or 0 < parsed.params < 2**63


@pytest.mark.parametrize("piece", ["step1-", "stage1-", "-/_", "seed-", "1e", "tokens1B-step1-"])
def test_long_names_are_quick(piece):
    for count in (160, 20_000):
        split_checkpoint(piece * count)
