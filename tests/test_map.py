"""The map of the literature: each row names verbs or laws that exist, and a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import signoise as sn
from signoise._laws._forms import LAWS

ROOT = Path(__file__).resolve().parent.parent
#: Those that ship; examples elsewhere may register others.
SHIPPED = {law.name for law in LAWS}
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (ROOT / "docs" / "map.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| paper", "| ---"))
]


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_row_names_what_exists(row: list[str]) -> None:
    _, gives, ours, test, number = row
    assert gives
    assert number
    names = re.findall(r"`(\w+)`", ours)
    assert names
    assert [name for name in names if name not in sn.__all__ and name not in SHIPPED] == []
    found = re.fullmatch(r"`(tests/test_\w+\.py)::(\w+)(?:\[(.+)\])?`", test)
    assert found, test
    path, function, case = found.groups()
    assert function in functions(path)
    # Cases of tests over laws begin with the name of one.
    assert case is None or case.split("-")[0] in SHIPPED


def test_papers_stand_once_and_laws_are_all_there() -> None:
    papers = [row[0] for row in ROWS]
    assert len(papers) == len(set(papers)) > 40
    named = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[2])}
    variants = {name for name in SHIPPED if name.startswith("ladder_")}
    assert SHIPPED - named - variants == set()


def test_every_law_has_its_question_in_the_docs() -> None:
    lines = (ROOT / "docs" / "laws.md").read_text().splitlines()
    for law in LAWS:
        row = f"| `{law.name}` | {law.question} | {', '.join(law.inputs)} | {law.y} |"
        assert row in lines, row


#: What a row of each paper is called by, in the order of docs/map.md's sources.
PAPERS = """
Signal and Noise; Farseer; Deep Learning Scaling is Predictable; Over-training; PassUntil; Predicting Downstream is
Elusive; Hitchhiker; Large Language Monkeys; Monkeys Get Their Power; fLaws; language-vision; Quantifying Variance;
Adaptive data analysis; Rethinking Conventional Wisdom; Model ladder; Chinchilla; Mystery of Scaling Laws;
Kaplan; Autoregressive generative; Learning-rate annealing; Neural machine translation; Downstream translation; Inverse
scaling; Broken neural scaling; Data filtering; Data-constrained; Beyond neural scaling; Explaining neural scaling;
Superposition; Fine Line; Time-series; Time-MoE; Parallel scaling; Step Law; Quantisation-aware; CMR; RL post-training;
Uncertainty; Multilingual; Superficial alignment; Rectified law; Self-consistency; Languini; Imitation learning;
Knowledge-graph; Thinking vs. Doing; SGD noise; POS tagging; Projektor; DPA3; Small-scale proxies; Predictive
multiplicity; Pervasive Label Errors; Clustering on difficulty; Model Evaluation and Selection; Quantisation after
training; Checkpoint averaging for cross-lingual; Investigating data contamination; Time travel; ConTAM; benchmark
cheater; Chameleon; Robustness Gym; compositionality; WildBench; neural network training algorithms; BabyLM; RankMe;
Same pre-training loss; Predictive data selection; 1.7B LLaMA; Domain upsampling; random censorship; Control variates;
Trained on Code; tau-bench
"""


def test_every_paper_has_its_row() -> None:
    titles = [row[0] for row in ROWS]
    wanted = [" ".join(name.split()) for name in PAPERS.split(";")]
    assert [name for name in wanted if not any(name in title for title in titles)] == []
