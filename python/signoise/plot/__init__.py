"""Figures of results: each function takes what a verb returned and gives an Altair chart to restyle or save.

``chart.save("figure.svg")`` (or .pdf, .png, .html) writes a file. Needs ``pip install 'signoise[report]'``.
Numbers that are null are left out and counted in the subtitle, never drawn as 0.
"""

from __future__ import annotations

from ._averaging_gain import averaging_gain
from ._benchmark_table import benchmark_table
from ._comparison_matrix import comparison_matrix
from ._critical_difference import critical_difference
from ._decision_curve import decision_curve
from ._noise_sources import noise_sources
from ._sample_size import sample_size
from ._scaling_law import scaling_law
from ._signal_noise_plane import signal_noise_plane
from ._snr_vs_decision_accuracy import snr_vs_decision_accuracy
from ._subtask_curves import subtask_curves, subtask_gains
from ._training_curves import training_curves

__all__ = [
    "averaging_gain",
    "benchmark_table",
    "comparison_matrix",
    "critical_difference",
    "decision_curve",
    "noise_sources",
    "sample_size",
    "scaling_law",
    "signal_noise_plane",
    "snr_vs_decision_accuracy",
    "subtask_curves",
    "subtask_gains",
    "training_curves",
]
