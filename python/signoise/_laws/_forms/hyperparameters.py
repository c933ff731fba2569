"""What a training run should be set to: learning rate and batch at the lowest loss."""

from __future__ import annotations

from .._law import Law, Parameter
from ._starts import on_logs
from .chinchilla import VARIABLES

SOURCE = "Li et al. 2025, arXiv 2503.04715"
STEP_LAW = "Step Law"
_FACTOR = Parameter("c", lower=0.0, transform="log", meaning="value at 1 parameter and 1 token")

LAWS = (
    Law(
        name="step_law_lr",
        formula="c * params**a * tokens**b",
        variables={"params": "non-embedding parameters", "tokens": VARIABLES["tokens"]},
        parameters=(
            _FACTOR,
            Parameter("a", meaning="exponent of parameters"),
            Parameter("b", meaning="exponent of tokens"),
        ),
        y="learning_rate",
        objective="lsq_log",
        starts=on_logs(("c", "a", "b"), "c", {"params": "a", "tokens": "b"}),
        question="Which peak learning rate is best for a size and a number of tokens?",
        source=f"{SOURCE}, equation 1",
        published={STEP_LAW: {"c": 1.79, "a": -0.713, "b": 0.307}},
    ),
    Law(
        name="step_law_batch",
        formula="c * tokens**b",
        variables={"tokens": VARIABLES["tokens"]},
        parameters=(_FACTOR, Parameter("b", meaning="exponent of tokens")),
        y="batch_tokens",
        objective="lsq_log",
        starts=on_logs(("c", "b"), "c", {"tokens": "b"}),
        question="Which batch (tokens per step) is best for a number of tokens?",
        source=f"{SOURCE}, equation 1",
        published={STEP_LAW: {"c": 0.58, "b": 0.571}},
    ),
)
