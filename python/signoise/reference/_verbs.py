"""The verbs on the NumPy twins: the same code around the kernels, the definitions in their place.

``signoise.reference.snr(scores)`` gives what ``signoise.snr(scores)`` gives, slowly, from code that reads
like the formulas.
"""

from .. import reference as _twins
from .._aggregate import aggregate as _aggregate
from .._aggregate import roll_up as _roll_up
from .._bootstrap import bootstrap as _bootstrap
from .._checkpoints import average_checkpoints as _average_checkpoints
from .._compare import compare as _compare
from .._decisions import decision_accuracy as _decision_accuracy
from .._interventions._anchor_items import anchor_items as _anchor_items
from .._interventions._averaging_gain import averaging_gain as _averaging_gain
from .._interventions._benchmark_agreement import benchmark_agreement as _benchmark_agreement
from .._interventions._benchmark_preferences import benchmark_preferences as _benchmark_preferences
from .._interventions._choose_window import choose_window as _choose_window
from .._interventions._clustering_on_difficulty import clustering_on_difficulty as _clustering_on_difficulty
from .._interventions._compare_metrics import compare_metrics as _compare_metrics
from .._interventions._correlate import correlate as _correlate
from .._interventions._filtering_gain import filtering_gain as _filtering_gain
from .._interventions._item_response import item_response as _item_response
from .._interventions._label_errors import label_errors as _label_errors
from .._interventions._near_best import near_best as _near_best
from .._interventions._predictive_multiplicity import predictive_multiplicity as _predictive_multiplicity
from .._interventions._prune_items import prune_items as _prune_items
from .._interventions._sample_size import sample_size as _sample_size
from .._interventions._subset_gap import subset_gap as _subset_gap
from .._interventions._subtasks import filter_subtasks as _filter_subtasks
from .._interventions._transforms import transform_correlations as _transform_correlations
from .._item_statistics import item_statistics as _item_statistics
from .._judged import prediction_powered as _prediction_powered
from .._kernels import with_twins
from .._mixed_effects import mixed_effects as _mixed_effects
from .._permutation_test import permutation_test as _permutation_test
from .._rank import rank as _rank
from .._running import confidence_sequence as _confidence_sequence
from .._sampling._coverage_law import coverage_law as _coverage_law
from .._sampling._pass_at_k import pass_at_k as _pass_at_k
from .._sampling._pass_until import pass_until as _pass_until
from .._sampling._self_consistency import self_consistency as _self_consistency
from .._sampling._verifier_limits import verifier_limits as _verifier_limits
from .._seed_variance import seed_variance as _seed_variance
from .._smoothness import smoothness as _smoothness
from .._snr import noise as _noise
from .._snr import signal as _signal
from .._snr import snr as _snr
from .._subset_control import subset_control as _subset_control
from .._variance import variance as _variance

aggregate = with_twins(_aggregate, _twins)
anchor_items = with_twins(_anchor_items, _twins)
average_checkpoints = with_twins(_average_checkpoints, _twins)
averaging_gain = with_twins(_averaging_gain, _twins)
benchmark_agreement = with_twins(_benchmark_agreement, _twins)
benchmark_preferences = with_twins(_benchmark_preferences, _twins)
bootstrap = with_twins(_bootstrap, _twins)
choose_window = with_twins(_choose_window, _twins)
clustering_on_difficulty = with_twins(_clustering_on_difficulty, _twins)
compare = with_twins(_compare, _twins)
compare_metrics = with_twins(_compare_metrics, _twins)
confidence_sequence = with_twins(_confidence_sequence, _twins)
correlate = with_twins(_correlate, _twins)
coverage_law = with_twins(_coverage_law, _twins)
decision_accuracy = with_twins(_decision_accuracy, _twins)
filter_subtasks = with_twins(_filter_subtasks, _twins)
filtering_gain = with_twins(_filtering_gain, _twins)
item_response = with_twins(_item_response, _twins)
item_statistics = with_twins(_item_statistics, _twins)
label_errors = with_twins(_label_errors, _twins)
mixed_effects = with_twins(_mixed_effects, _twins)
near_best = with_twins(_near_best, _twins)
noise = with_twins(_noise, _twins)
pass_at_k = with_twins(_pass_at_k, _twins)
pass_until = with_twins(_pass_until, _twins)
permutation_test = with_twins(_permutation_test, _twins)
prediction_powered = with_twins(_prediction_powered, _twins)
prune_items = with_twins(_prune_items, _twins)
predictive_multiplicity = with_twins(_predictive_multiplicity, _twins)
rank = with_twins(_rank, _twins)
roll_up = with_twins(_roll_up, _twins)
sample_size = with_twins(_sample_size, _twins)
seed_variance = with_twins(_seed_variance, _twins)
self_consistency = with_twins(_self_consistency, _twins)
signal = with_twins(_signal, _twins)
smoothness = with_twins(_smoothness, _twins)
snr = with_twins(_snr, _twins)
subset_control = with_twins(_subset_control, _twins)
subset_gap = with_twins(_subset_gap, _twins)
transform_correlations = with_twins(_transform_correlations, _twins)
variance = with_twins(_variance, _twins)
verifier_limits = with_twins(_verifier_limits, _twins)
