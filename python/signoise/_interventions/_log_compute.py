"""Compute of rows: given, or of params and tokens."""

from __future__ import annotations

import polars as pl

from .._errors import SchemaError
from .._schema import did_you_mean


def log_compute(rows: pl.DataFrame, compute: str | None) -> tuple[pl.Expr, str]:
    """Logarithm of the compute of each row, and what it is."""

    def filled(name: str) -> bool:
        return name in rows.columns and rows[name].null_count() == 0

    if compute is not None:
        if compute not in rows.columns or not rows.schema[compute].is_numeric():
            raise SchemaError(
                f"compute: the table has no column of numbers {compute!r}{did_you_mean(compute, rows.columns)}"
            )
        amount, name = pl.col(compute).cast(pl.Float64), compute
    elif filled("flops"):
        amount, name = pl.col("flops"), "flops"
    elif filled("params") and filled("tokens"):
        amount, name = 6.0 * pl.col("params") * pl.col("tokens"), "6 params tokens"
    else:
        raise SchemaError(
            "the compute of some rows is not known: they need flops, or params and tokens, or name a column that "
            'stands for it, e.g. compute="step" within one run'
        )
    if (rows.select(amount.alias("c")).filter(~(pl.col("c") > 0))).height or (
        compute and not filled(compute)
    ):
        raise SchemaError(f"compute: {name} must be above 0 in every row")
    return amount.log(), name
