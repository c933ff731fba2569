"""Encoded scores with their instances: what verbs on subsets of instances start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from .._decision_sides import columns_of_sides, load_sides
from .._duplicates import Duplicates
from .._encode import encode
from .._errors import OptionError
from .._instance_cells import Source, open_instances
from .._options import as_columns
from .._scores import Filter, Scores, load, note_key, warn_notes
from ._ladder_curves import Rule
from ._smoothed import Study


def open_with_instances(
    scores: Scores,
    *,
    small: Filter,
    target: Filter,
    match: str | Sequence[str] | None,
    across: str | Sequence[str],
    by: Sequence[str],
    where: Filter,
    order: str,
    cluster: str | None,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    strict: bool,
    threads: int | None,
    ladder: Rule | None = None,
) -> tuple[Study, pl.DataFrame, Source]:
    """Encoded scores, the rows behind them with the key of their instances, and the instances.

    Two sides where filters for them are given, else all rows as one, ``all``; with a ladder also ``ladder``.
    """
    sided = small is not None or target is not None
    if match is not None and not sided:
        raise OptionError("match joins small and target; without these, say across=... what a member is")
    members = as_columns(across)
    use: list[Any] = [*by, *members, order]
    if sided:
        use = columns_of_sides(by, match, order, {"small": small, "target": target})
    also = [] if ladder is None else ladder.used
    use += also
    scores, where, source = open_instances(
        scores,
        columns=columns,
        where=where,
        use=use,
        cluster=cluster,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    if sided:
        sides = load_sides(
            scores,
            small=small,
            target=target,
            match=match,
            by=by,
            where=where,
            order=order,
            groups=None,
            columns=columns,
            opened=True,
            beside={} if ladder is None else {"ladder": ladder.rows},
            use=also,
            duplicates=duplicates,
            strict=strict,
            threads=threads,
        )
        return Study(sides.encoded, True, sides.members, sides.left), sides.frame, source
    table = load(scores, where=where, use=use, duplicates=duplicates, strict=strict, threads=threads)
    masks = {"all": None} | ({} if ladder is None else {"ladder": ladder.rows(table.frame.schema)})
    encoded = encode(table.frame, by=by, members=members, order=order, masks=masks, duplicates=duplicates)
    warn_notes(table.notes)
    note_key(encoded, by)
    return Study(encoded, False, members, ()), table.frame, source
