"""What of all dumps is to be loaded: every part, but of re-runs the newest alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._dump import LABELS, Dump, Part
from ._report import Rerun

if TYPE_CHECKING:
    from ._report import ReadReport

IDENTITY = tuple(name for name in LABELS if name != "source")
"""Labels that say what was evaluated; the source says only where that was written down."""


@dataclass(frozen=True)
class Planned:
    """A part and the dump that loads it."""

    dump: Dump
    part: Part


def identity(part: Part) -> tuple[Any, ...]:
    """What was evaluated."""
    return tuple(map(part.labels.get, IDENTITY))


def plan(dumps: Sequence[Dump], report: ReadReport) -> list[Planned]:
    """Parts of all dumps in order, without those that a newer evaluation by the same harness replaces.

    Parts with equal labels and different time stamps are re-runs: the newest wins and `report` says so. Without a
    stamp, or with the same, nothing tells which is newer: they are kept, and the duplicate rule applies.
    """
    return [planned for dump in dumps for planned in _newest(dump, report)]


def _newest(dump: Dump, report: ReadReport) -> list[Planned]:
    """Of one harness: what another one says about the same task is no newer evaluation but a different one."""
    found = [Planned(dump, part) for part in dump.parts()]
    newest: dict[tuple[Any, ...], Part] = {}
    for planned in found:
        part = planned.part
        key = identity(part)
        best = newest.setdefault(key, part)
        if part.stamp is not None and (best.stamp is None or part.stamp > best.stamp):
            newest[key] = part
    if len(newest) == len(found):
        return found
    kept = []
    for planned in found:
        part = planned.part
        best = newest[identity(part)]
        if part.stamp is not None and best.stamp is not None and part.stamp < best.stamp:
            run, revision = str(part.labels.get("run")), part.labels.get("revision")
            report.reruns.append(Rerun(run, revision, source_of(best), source_of(part), 0))
        else:
            kept.append(planned)
    return kept


def source_of(part: Part) -> str:
    """The ``source`` column of a part's rows."""
    return str(part.labels.get("source") or part.file.label)
