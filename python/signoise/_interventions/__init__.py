"""Interventions: what can be done to a benchmark to make it tell models apart, and what it is worth out of sample."""

from ._filtering_gain import filtering_gain
from ._subtasks import filter_subtasks
from ._thresholdout import thresholdout

__all__ = ["filter_subtasks", "filtering_gain", "thresholdout"]
