"""Make the pictures of README and docs: ``python docs/figures/make.py``.

Those of published evaluations need the shared data (SIGNOISE_SHARED, by default beside the repository) and are left as
they are without it.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import signoise as sn

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("SIGNOISE_SHARED", HERE.parents[2] / "shared"))
PYTHIA = SHARED / "data" / "pythia_evals.parquet"
MMLU = "suite = 'pythia-v1' AND variant = 'main' AND shots = 0 AND metric = 'acc'"
LAMBADA = (
    "suite = 'pythia-v1' AND variant = 'baseline' AND shots = 0 AND model = 'pythia-1.4b-deduped' "
    "AND task = 'lambada_openai' AND metric = 'acc'"
)


def signal_noise_plane() -> Any:
    """The simulated suite of README."""
    return sn.plot.signal_noise_plane(sn.report(sn.example_scores()))


def training_curves() -> Any:
    """Three of its benchmarks along training."""
    shown = "params = 150000000 AND task IN ('sim_arc', 'sim_copa', 'sim_mmlu')"
    return sn.plot.training_curves(sn.example_scores(), where=shown)


def mmlu_subtasks() -> Any:
    """The curve that choosing among the 57 subjects of MMLU shows."""
    return sn.plot.subtask_curves(
        sn.filter_subtasks(PYTHIA, where=MMLU, groups={"mmlu57": "hendrycksTest-*"})
    )


def mmlu_gains() -> Any:
    """What of it is left."""
    return sn.plot.subtask_gains(sn.filtering_gain(PYTHIA, where=MMLU, groups={"mmlu57": "hendrycksTest-*"}))


def lambada_averages() -> Any:
    """Averages over checkpoints of one run."""
    table = sn.averaging_gain(PYTHIA, where=LAMBADA, windows=(1, 2, 3, 5), ddof=0)
    return sn.plot.averaging_gain(table, width=360, height=220)


FIGURES: dict[Callable[[], Any], bool] = {
    signal_noise_plane: False,
    training_curves: False,
    mmlu_subtasks: True,
    mmlu_gains: True,
    lambada_averages: True,
}
"""Each figure, and whether it is of published evaluations."""


def main() -> None:
    """Write every figure as an SVG file with the function's name."""
    warnings.simplefilter("ignore", sn.SignoiseWarning)
    for figure, published in FIGURES.items():
        if published and not PYTHIA.is_file():
            print(f"left as it is, no {PYTHIA}: {figure.__name__}.svg", file=sys.stderr)
            continue
        figure().save(HERE / f"{figure.__name__}.svg")


if __name__ == "__main__":
    main()
