"""The report's table as one to publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from .._errors import SignoiseError
from .._schema import SCORE_IDENTITY
from ._frames import frame_of

if TYPE_CHECKING:
    from great_tables import GT

_WORDS = {
    "mean": "Mean",
    "signal": "Signal",
    "noise": "Noise",
    "snr": "SNR",
    "snr_within_scale": "SNR within scale",
    "decision_accuracy": "Decision accuracy",
    "predicted": "Predicted",
    "prediction_error": "Prediction error",
    "monotonicity": "Monotonicity",
    "status": "Status",
}


def benchmark_table(table: pl.DataFrame) -> GT:
    """A result of `report` or `snr` as a table of great-tables, limits beside their estimates.

    Parameters
    ----------
    table : DataFrame
        A result of `report` or `snr`.

    Returns
    -------
    great_tables.GT
        To restyle, show in a notebook, or save (``as_raw_html()``, ``as_latex()``).

    Examples
    --------
    >>> import signoise as sn
    >>> shown = sn.plot.benchmark_table(sn.report(sn.example_scores()))
    >>> "SNR" in shown.as_raw_html()
    True
    """
    try:
        from great_tables import GT, loc, style
    except ImportError:
        raise SignoiseError(
            "tables are set by great-tables, which is not installed; pip install 'signoise[report]'"
        ) from None
    frame = frame_of(table, "benchmark_table", "report or snr", ("snr", "status"))
    keys = [name for name in SCORE_IDENTITY if name in frame.columns]
    numbers = [name for name in _WORDS if name in frame.columns and name != "status"]
    limits = {"snr": ("snr_low", "snr_high"), "decision_accuracy": ("decision_low", "decision_high")}
    columns: list[pl.Expr] = [pl.col(name) for name in (*keys, "n_runs") if name in frame.columns]
    labels: dict[str, Any] = {"n_runs": "Runs", **{key: key.capitalize() for key in keys}}
    for name in numbers:
        columns.append(pl.col(name))
        labels[name] = _WORDS[name]
        low, high = limits.get(name, ("", ""))
        if low in frame.columns:
            columns.append(pl.format("{} to {}", _short(low), _short(high)).alias(f"{name} limits"))
            labels[f"{name} limits"] = "limits"
    shown = frame.select(*columns, "status")
    labels["status"] = _WORDS["status"]
    return (
        GT(shown)
        .fmt_number(columns=numbers, n_sigfig=3)
        .sub_missing(missing_text="–")
        .cols_label(cases={name: text for name, text in labels.items() if name in shown.columns})
        .tab_style(
            style=style.text(color="#8a1f11"),
            locations=loc.body(columns="status", rows=pl.col("status") != "ok"),
        )
    )


def _short(name: str) -> pl.Expr:
    return pl.col(name).round_sig_figs(3)
