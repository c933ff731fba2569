"""The two sides of a decision: rows at small scale and at the target, and the members that stand on both."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._duplicates import Duplicates
from ._encode import Encoded, Series, encode
from ._errors import DroppedRowsWarning, InsufficientDataError, MixedKeyWarning, OptionError, SchemaError
from ._no_rows import no_row_satisfies
from ._options import as_columns
from ._schema import SCORE_IDENTITY, SYNONYMS, as_expression, config_sources, predicate
from ._scores import Filter, Groups, Scores, load, note_key, warn_notes

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


#: Rows of a table, once its columns are known.
Selection = Callable[[pl.Schema], pl.Expr]


class Placed(Protocol):
    """Scores of the members on one side, with the group and the member of each."""

    @property
    def scores(self) -> Floats: ...
    @property
    def group(self) -> Ints: ...
    @property
    def member(self) -> Ints: ...


@dataclass(frozen=True)
class Sides:
    """Scores of both sides, encoded with the masks ``small`` and ``target``."""

    encoded: Encoded
    frame: pl.DataFrame
    """The rows that were encoded, with the whole key that their instances have."""
    left: list[str]
    """Columns that the two filters speak of, which are no part of the key."""
    members: tuple[str, ...]
    """Columns that join the two sides."""


def columns_of_sides(
    by: Sequence[str], match: str | Sequence[str] | None, order: str, sides: Mapping[str, Filter]
) -> list[pl.Expr | str]:
    """Columns and expressions that `load_sides` needs of a table."""
    return [
        *by,
        *(as_columns(match) if match else ("recipe", "run")),
        order,
        *_expressions(sides).values(),
    ]


def load_sides(
    scores: Scores,
    *,
    small: Filter,
    target: Filter,
    match: str | Sequence[str] | None,
    by: Sequence[str],
    where: Filter,
    order: str,
    groups: Groups,
    columns: Mapping[str, str] | None,
    opened: bool = False,
    beside: Mapping[str, Selection] | None = None,
    use: Sequence[pl.Expr | str] = (),
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
) -> Sides:
    """Load the rows of both sides and encode them.

    Parameters
    ----------
    small, target, match, by, where, order, groups, columns, duplicates, strict, threads
        As in `decision_accuracy`.
    opened
        The columns of `scores` have our names already.
    beside
        As in `encode_sides`.
    use
        Columns and expressions that are needed for them.
    """
    sides = {"small": small, "target": target}
    table = load(
        scores,
        columns=None if opened else columns,
        where=where,
        groups=groups,
        use=[*columns_of_sides(by, match, order, sides), *use],
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    found = encode_sides(
        table.frame,
        sides,
        by=by,
        match=match,
        order=order,
        columns=columns,
        beside=beside,
        duplicates=duplicates,
    )
    warn_notes(table.notes)
    note_key(found.encoded, [name for name in by if name not in found.left])
    return found


def encode_sides(
    frame: pl.DataFrame,
    sides: Mapping[str, Filter],
    *,
    by: Sequence[str],
    match: str | Sequence[str] | None,
    order: str,
    columns: Mapping[str, str] | None,
    beside: Mapping[str, Selection] | None = None,
    duplicates: Duplicates,
) -> Sides:
    """Encode the rows of some sides, each looked up once, in the whole table, and carried as a column.

    `beside` names further selections of rows that become masks, and whose columns stay in the key.
    """
    expressions = _expressions(sides)
    named = list(dict.fromkeys(root for e in expressions.values() for root in e.meta.root_names()))
    masks = {
        name: checked
        for name, value in sides.items()
        if (checked := predicate(value, name, frame.schema)) is not None
    }
    kept = masks | {name: rows(frame.schema) for name, rows in (beside or {}).items()}
    on_side = frame.select(mask.fill_null(False).alias(f"__{name}") for name, mask in kept.items())
    for name in masks:
        if not on_side[f"__{name}"].any():
            raise SchemaError(no_row_satisfies(name, sides[name], frame))
    frame = frame.hstack(on_side).filter(pl.any_horizontal(on_side.columns))
    left = _columns_that_leave(named, columns)
    stripped = _strip_config(frame, named)
    members = as_columns(match) if match else _default_match(stripped)
    encoded = encode(
        stripped,
        by=[name for name in by if name not in left],
        members=members,
        order=order,
        masks={name: pl.col(f"__{name}") for name in kept},
        leave_key=left,
        duplicates=duplicates,
    )
    return Sides(encoded, frame, left, members)


def _expressions(sides: Mapping[str, Filter]) -> dict[str, pl.Expr]:
    if any(value is None for value in sides.values()):
        raise OptionError(
            'small and target are both needed, e.g. small="params = 150000000", target="params = 1e9"'
        )
    return {name: as_expression(value, name) for name, value in sides.items() if value is not None}


def _columns_that_leave(named: Sequence[str], columns: Mapping[str, str] | None) -> list[str]:
    """Columns that the filters speak of, under any of their names."""
    ours = {their: our for our, theirs in SYNONYMS.items() for their in theirs} | dict(columns or {})
    return list(dict.fromkeys([*named, *(ours[name] for name in named if name in ours)]))


def _strip_config(frame: pl.DataFrame, named: Sequence[str]) -> pl.DataFrame:
    """Take the parts that a filter names out of `config`: they are what the two sides differ in."""
    sources = config_sources(named)
    if "config" not in frame.columns or not sources:
        return frame
    rest = pl.col("config")
    for label in sources.values():
        rest = rest.str.replace_all(rf"(^|,){label}=[^,]*", "")
    rest = rest.str.strip_chars_start(",")
    return frame.with_columns(pl.when(rest == "").then(None).otherwise(rest).alias("config"))


def _default_match(frame: pl.DataFrame) -> tuple[str, ...]:
    filled = "recipe" in frame.columns and frame["recipe"].null_count() == 0
    return ("recipe",) if filled else ("run",)


def check_unmixed(series: Series, labels: pl.DataFrame, side: str, left: Sequence[str]) -> None:
    """Each side of a group must hold one metric, task, ..; a member that holds several scales is averaged aloud."""
    for column in left:
        if column not in labels.columns or labels[column].n_unique() <= 1:
            continue
        frame = labels.with_columns(pl.Series("__group", series.group), pl.Series("__member", series.member))
        within = ["__group"] if column in SCORE_IDENTITY else ["__group", "__member"]
        seen = frame.group_by(within).agg(
            pl.col(column).n_unique().alias("n"), pl.col(column).unique().sort()
        )
        mixed = seen.filter(pl.col("n") > 1)
        if not mixed.height:
            continue
        values = ", ".join(str(value) for value in mixed.sort(within)[column][0].head(4))
        if column in SCORE_IDENTITY:
            raise OptionError(
                f"{side} selects several values of {column} ({values}); narrow the filter to one, or add where=..."
            )
        warnings.warn(
            f"{side} selects several values of {column} ({values}) for {mixed.height} members: averaged",
            MixedKeyWarning,
            stacklevel=4,
        )


def matched(a: Placed, b: Placed, members: pl.DataFrame) -> tuple[Ints, Ints]:
    """Positions of the members that stand on both sides.

    Nothing is matched on a missing key, and a score that is undefined (the mean of inf and -inf) cannot be ranked.
    """
    keyed = members.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy()
    places = []
    for side in (a, b):
        rankable = np.flatnonzero(keyed[side.member] & ~np.isnan(side.scores))
        places.append((side.group[rankable] * max(len(members), 1) + side.member[rankable], rankable))
    (at_a, in_a), (at_b, in_b) = places
    _, first, second = np.intersect1d(at_a, at_b, assume_unique=True, return_indices=True)
    return in_a[first].astype(np.intp), in_b[second].astype(np.intp)


def note_unmatched(
    encoded: Encoded, a: Placed, b: Placed, common: Ints, members: Sequence[str], *, strict: bool
) -> None:
    """Tell how many scores have no partner; an error where `strict`."""
    only_a, only_b = len(a.scores) - len(common), len(b.scores) - len(common)
    if not only_a and not only_b:
        return
    both = set(zip(a.group[common].tolist(), a.member[common].tolist(), strict=True))
    lonely = sorted(
        {
            m
            for side in (a, b)
            for g, m in zip(side.group.tolist(), side.member.tolist(), strict=True)
            if (g, m) not in both
        }
    )
    labels = [", ".join(str(value) for value in encoded.members.row(m)) for m in lonely[:3]]
    text = (
        f"{only_a} scores at small scale and {only_b} at the target have no partner on {', '.join(members)} and were "
        f"left out (e.g. {'; '.join(labels)})"
    )
    if strict:
        raise InsufficientDataError(f"{text}; filter them out (where=...) or call with strict=False")
    warnings.warn(text, DroppedRowsWarning, stacklevel=3)
