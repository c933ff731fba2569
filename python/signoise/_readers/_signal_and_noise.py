"""The two Parquet layouts of the signal-and-noise data: scores, and instances.

Both are wide tables (one column for each metric) that the reader of tables understands; what it cannot know is put
right here, lazily. ``logits_per_byte_corr``, ``bits_per_byte_corr`` and ``bits_per_byte`` are one metric under three
names (bits per byte, lower is better), ``num_instances`` is n, ``model_tokens`` and ``model_params`` are tokens and
the size. Bits per byte of instances have no weights there: the data average them plainly. The instances' pandas index
is stored as ordinary columns, so nothing is to be done about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

BITS = ("bits_per_byte", "bits_per_byte_corr", "logits_per_byte_corr")
TELLING = ("task", "model", "step", "mix", "size", "token_ratio")
"""Columns that both layouts have."""
RENAMED = {"num_instances": "n", "model_tokens": "tokens"}
"""Theirs to ours."""


def is_signal_and_noise(names: Iterable[str]) -> bool:
    """Whether a table has the columns of either layout."""
    names = set(names)
    told = names.issuperset(TELLING)
    return told and "value" not in names and bool({"primary_score", *BITS} & names)


def metric_columns(names: Iterable[str]) -> dict[str, str]:
    """Column -> metric for the names of bits per byte: the fullest of the columns alone, under its one name.

    For who reads columns without bringing them together as `tidy` does: where a table has
    ``logits_per_byte_corr``, its writer has copied the other two into it.
    """
    there = [name for name in reversed(BITS) if name in set(names)]
    return {there[0]: BITS[0]} if there else {}


def tidy(table: pl.LazyFrame, columns: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """The same rows with one column of bits per byte, and our names for what has another meaning.

    Columns that the user declares stay as they are.
    """
    schema = table.collect_schema()
    declared = set(columns or {})
    bits = [name for name in BITS if name in schema and schema[name].is_numeric() and name not in declared]
    if bits:
        one = pl.coalesce(pl.col(name).cast(pl.Float64) for name in bits).alias("bits_per_byte")
        table = table.with_columns(one).drop([name for name in bits if name != "bits_per_byte"])
    # Lists (one number for each choice) would be carried through every step for nothing.
    nested = [name for name, dtype in schema.items() if dtype.is_nested() and name not in declared]
    renamed = {
        theirs: ours
        for theirs, ours in RENAMED.items()
        if theirs in schema and ours not in schema and theirs not in declared
    }
    return table.drop(nested).with_columns(pl.col(theirs).alias(ours) for theirs, ours in renamed.items())
