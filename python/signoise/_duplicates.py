"""Rows that share a key: exact repeats go, conflicting values are settled as the caller chose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import polars as pl

from ._errors import DuplicateKeyError, OptionError
from ._schema import KEY

Duplicates: TypeAlias = Literal["raise", "first", "last", "mean", "status"]


def check_duplicates(duplicates: str) -> None:
    """Raise ``OptionError`` where `duplicates` is not one of the choices."""
    if duplicates not in ("raise", "first", "last", "mean", "status"):
        raise OptionError(f'duplicates must be "raise", "first", "last" or "mean", got {duplicates!r}')


def drop_exact_duplicates(frame: pl.DataFrame, apart: Sequence[str] = ()) -> tuple[pl.DataFrame, list[str]]:
    """Rows that repeat another one's key and value, dropped and counted; columns `apart` are part of the key."""
    key = [*_key(frame, apart), "value"]
    unique = frame.unique(subset=key, keep="first", maintain_order=True)
    dropped = frame.height - unique.height
    return unique, ([f"{dropped} exact duplicate rows were dropped"] if dropped else [])


def settle_duplicates(
    frame: pl.DataFrame, duplicates: Duplicates, apart: Sequence[str] = ()
) -> tuple[pl.DataFrame, list[str]]:
    """One row a key: exact repeats dropped, different values settled as `duplicates` says (or an error).

    `apart` are columns that tell scores apart beside the key.
    """
    check_duplicates(duplicates)
    frame, notes = drop_exact_duplicates(frame, apart)
    key, conflicting = _conflicts(frame, apart)
    if not conflicting.height:
        return frame, notes
    if duplicates in ("raise", "status"):
        raise DuplicateKeyError(_described(conflicting, key))
    settled = frame.unique(subset=key, keep="last" if duplicates == "last" else "first", maintain_order=True)
    keys = conflicting.group_by(key, maintain_order=True).agg(mean_of_present().alias("__mean"))
    if duplicates == "mean":
        settled = (
            settled.join(
                keys.with_columns(pl.lit(value=True).alias("__settled")),
                on=key,
                how="left",
                nulls_equal=True,
                maintain_order="left",
            )
            .with_columns(pl.when("__settled").then("__mean").otherwise("value").alias("value"))
            .drop("__settled", "__mean")
        )
    notes.append(f"{keys.height} keys carried different values: took the {duplicates} of each")
    return settled, notes


def mean_of_present() -> pl.Expr:
    """Mean of the values of a key that are scores; sorted, so that row order cannot reach it."""
    value = pl.col("value")
    return pl.coalesce(value.drop_nans().sort().mean(), value.drop_nulls().first())


def settled_or_doubled(
    frame: pl.DataFrame, duplicates: Duplicates, compute: Callable[[pl.DataFrame], pl.DataFrame]
) -> tuple[pl.DataFrame, list[str]]:
    """Rows, with a column `value`, computed from rows without duplicates.

    With ``"status"`` conflicts must stay visible one level up: rows that depend on the choice come twice there,
    computed from the lowest and from the highest value of every key, and so are conflicting duplicates themselves.
    """
    if duplicates != "status":
        settled, notes = settle_duplicates(frame, duplicates)
        return compute(settled), notes
    frame, notes = drop_exact_duplicates(frame)
    key, conflicting = _conflicts(frame)
    if not conflicting.height:
        return compute(frame), notes
    notes.append(_described(conflicting, key))
    ranked = frame.sort("value", nulls_last=True, maintain_order=True)
    tables = [compute(ranked.unique(subset=key, keep=end, maintain_order=True)) for end in ("first", "last")]
    return drop_exact_duplicates(pl.concat(tables))[0], notes


def _key(frame: pl.DataFrame, apart: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys([*KEY, *apart]) if name in frame.columns]


def _conflicts(frame: pl.DataFrame, apart: Sequence[str] = ()) -> tuple[list[str], pl.DataFrame]:
    key = _key(frame, apart)
    return key, frame.filter(frame.select(key).is_duplicated())


def _described(conflicting: pl.DataFrame, key: list[str]) -> str:
    rows = conflicting.with_row_index("__place").with_columns(
        pl.col("__place").min().over(key).alias("__key")
    )
    return describe_conflicts(rows, key)


def describe_conflicts(conflicting: pl.DataFrame, key: Sequence[str]) -> str:
    """How many keys carry different values, the first ones named; rows of a key share `__key`."""
    examples = []
    firsts = conflicting.group_by("__key", maintain_order=True).agg(
        *(pl.col(name).first() for name in key),
        pl.col("value"),
        *(pl.col(c) for c in ("source",) if c in conflicting),
    )
    for row in firsts.head(3).iter_rows(named=True):
        label = ", ".join(f"{name}={row[name]}" for name in key if row[name] is not None)
        values = ", ".join(f"{value:.6g}" if value is not None else "null" for value in row["value"])
        where = (
            f" in {', '.join(sorted({str(s) for s in row['source'] if s}))}"
            if any(row.get("source") or ())
            else ""
        )
        examples.append(f"{label} has values {values}{where}")
    more = firsts.height - len(examples)
    return (
        f"{firsts.height} keys carry different values: {'; '.join(examples)}{f'; and {more} more' if more else ''}. "
        'Filter the rows you mean (where=...), or choose with duplicates="first", "last" or "mean"'
    )


class Settled:
    """Duplicates of batches settled one batch after the other, and all of them counted."""

    def __init__(self, duplicates: Duplicates) -> None:
        self._duplicates: Duplicates = duplicates
        self._counts: dict[str, int] = {}

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        rows, notes = settle_duplicates(rows, self._duplicates)
        for note in notes:  # "3 keys carried .."
            count, _, text = note.partition(" ")
            self._counts[text] = self._counts.get(text, 0) + int(count)
        return rows

    def notes(self) -> list[str]:
        return [f"{count} {text}" for text, count in self._counts.items()]
