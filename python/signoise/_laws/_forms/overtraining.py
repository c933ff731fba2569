"""Loss of models trained on more tokens than are compute-optimal, and the downstream error that follows."""

from __future__ import annotations

from .._law import Law, Parameter

SOURCE = "Gadre et al. 2024, arXiv 2403.08540"

LAWS = (
    Law(
        name="overtraining",
        formula="E + alpha * params**b + beta * 6**(b / 2) * (tokens_per_param * params)**b",
        variables={"params": "parameters", "tokens_per_param": "training tokens per parameter"},
        parameters=(
            Parameter("alpha", (1e2, 3e2, 1e3, 3e3), meaning="gain by parameters"),
            Parameter("beta", (1e2, 3e2, 1e3, 3e3), meaning="gain by tokens"),
            Parameter("b", (-0.1, -0.3), meaning="exponent of both, below 0"),
            Parameter("E", (0.0, 1.0, 2.0, 10.0), meaning="irreducible loss"),
        ),
        objective="lsq",
        question="What loss does a model trained on many tokens per parameter reach?",
        source=f"{SOURCE}, equation 4, in the form of the released code (128 starts)",
    ),
    Law(
        name="overtraining_compute",
        formula="E + (a * tokens_per_param**eta + b * tokens_per_param**-eta) * flops**-eta",
        variables={"flops": "training compute", "tokens_per_param": "training tokens per parameter"},
        parameters=(
            Parameter("a", (1e2, 1e3, 1e4), 0.0, meaning="gain by parameters"),
            Parameter("b", (1e2, 1e3, 1e4), 0.0, meaning="gain by tokens"),
            Parameter("eta", (0.05, 0.1, 0.2), 0.0, meaning="exponent of compute"),
            Parameter("E", (0.0, 1.0, 2.0), 0.0, meaning="irreducible loss"),
        ),
        objective="lsq",
        question="The same of compute: how does the loss fall along one ratio of tokens to parameters?",
        source=f"{SOURCE}, equation 4",
    ),
    Law(
        name="loss_to_error",
        formula="epsilon - k * exp(-gamma * loss)",
        variables={"loss": "nats per token"},
        parameters=(
            Parameter("k", (0.5, 1.0, 2.0, 4.0), meaning="reach of the error"),
            Parameter("gamma", (0.2, 0.5, 1.0, 2.0), 0.0, meaning="rate"),
            Parameter("epsilon", (0.5, 0.75, 1.0), meaning="error at infinite loss"),
        ),
        y="error",
        objective="lsq",
        question="What average downstream error does a loss mean?",
        source=f"{SOURCE}, equation 5",
    ),
)
