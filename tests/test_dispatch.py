"""Which partition runs when, on workers that are made up, by a clock that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import signoise as sn
from signoise.engines._dispatch import AHEAD, LATE, Lost, Policy, dispatch

Run = tuple[int, int]
"""A partition, and how often it was begun before."""


@dataclass
class Workers:
    """Workers whose tasks last as long as they are told to, and end as they are told to."""

    slots: int
    seconds: Callable[[int, int], float] = lambda _at, _attempt: 1.0
    fate: Callable[[int, int], Any] = lambda at, _attempt: at
    now: float = 0.0
    begun: list[Run] = field(default_factory=list)
    cancelled: list[Run] = field(default_factory=list)
    busiest: int = 0
    _ends: dict[Run, float] = field(default_factory=dict)

    def start(self, at: int) -> Run:
        run = at, sum(other == at for other, _ in self.begun)
        self.begun.append(run)
        self._ends[run] = self.now + self.seconds(*run)
        self.busiest = max(self.busiest, len(self._ends))
        return run

    def wait(self, handles: Sequence[Run], seconds: float | None) -> list[Run]:
        assert handles
        assert set(handles) == set(self._ends)
        first = min(self._ends.values())
        if seconds is not None and first > self.now + seconds:
            self.now += seconds
            return []
        self.now = max(self.now, first)
        return [run for run, end in self._ends.items() if end <= self.now]

    def take(self, handle: Run) -> Any:
        del self._ends[handle]
        found = self.fate(*handle)
        if isinstance(found, Exception):
            raise found
        return found

    def cancel(self, handle: Run) -> None:
        self.cancelled.append(handle)
        del self._ends[handle]

    def clock(self) -> float:
        return self.now

    def name(self, at: int) -> str:
        return f"task {at}"


PATIENT = Policy(retries=2, straggler=None)
USUAL = Policy(retries=2, straggler=3.0)


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.floats(0.1, 9), st.integers(0, 2)), max_size=60),
    st.sampled_from([PATIENT, USUAL]),
)
def test_states_come_in_order_whatever_dies_and_lasts(
    slots: int, partitions: list[tuple[float, int]], policy: Policy
) -> None:
    workers = Workers(
        slots,
        seconds=lambda at, _: partitions[at][0],
        fate=lambda at, attempt: Lost("gone") if attempt < partitions[at][1] else at,
    )
    told: list[tuple[int, int]] = []
    sizes = [float(1 + at % 3) for at in range(len(partitions))]
    found = list(dispatch(workers, sizes, policy, lambda done, total: told.append((done, total))))
    assert found == list(range(len(partitions)))
    assert [done for done, _ in told] == [int(sum(sizes[: at + 1])) for at in range(len(sizes))]
    assert {total for _, total in told} <= {int(sum(sizes))}
    assert workers.busiest <= slots


def test_the_largest_are_begun_first() -> None:
    workers = Workers(2)
    list(dispatch(workers, [1, 5, 3, 4, 2], PATIENT))
    assert [at for at, _ in workers.begun] == [1, 3, 2, 4, 0]


def test_no_more_is_begun_than_may_wait_for_its_turn() -> None:
    workers = Workers(1)
    states = dispatch(workers, [1.0] * 50, PATIENT)
    assert next(states) == 0
    assert len(workers.begun) <= 2
    slow = Workers(2, seconds=lambda at, _: 1000.0 if at == 0 else 1.0)
    assert next(dispatch(slow, [1.0] * 500, PATIENT)) == 0
    assert max(at for at, _ in slow.begun) < AHEAD * 2


def test_a_partition_that_dies_again_and_again_is_named() -> None:
    workers = Workers(2, fate=lambda at, attempt: Lost(f"signal {attempt}") if at == 3 else at)
    with pytest.raises(
        sn.EngineError, match=r"task 3 \(partition 4 of 6\) .* workers died over it 3 times, .*: signal 2;"
    ):
        list(dispatch(workers, [1.0] * 6, PATIENT))
    assert sum(at == 3 for at, _ in workers.begun) == 3


def test_an_error_ends_everything() -> None:
    workers = Workers(3, fate=lambda at, _: sn.SchemaError("no") if at == 1 else at)
    with pytest.raises(sn.SchemaError, match="no"):
        list(dispatch(workers, [1.0] * 9, USUAL))
    assert not workers._ends


def test_who_stops_listening_stops_the_work() -> None:
    workers = Workers(3)
    states = dispatch(workers, [1.0] * 9, USUAL)
    next(states)
    states.close()
    assert workers.cancelled
    assert not workers._ends


def test_a_straggler_is_begun_once_more_and_the_first_answer_taken() -> None:
    workers = Workers(
        2,
        seconds=lambda at, attempt: 1e6 if (at, attempt) == (4, 0) else 1.0,
        fate=lambda at, attempt: (at, attempt),
    )
    found = list(dispatch(workers, [1.0] * 6, USUAL))
    assert found == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 0)]
    assert workers.cancelled == [(4, 0)]
    assert LATE < workers.now < LATE + 10


def test_a_large_partition_is_no_straggler() -> None:
    sizes = [1.0, 1.0, 1.0, 1.0, 1000.0]
    workers = Workers(2, seconds=lambda at, _: sizes[at])
    assert list(dispatch(workers, sizes, USUAL)) == list(range(5))
    assert len(workers.begun) == 5


def test_a_second_copy_that_dies_leaves_the_first() -> None:
    workers = Workers(
        2,
        seconds=lambda at, attempt: 60.0 if (at, attempt) == (4, 0) else 1.0,
        fate=lambda at, attempt: Lost("gone") if (at, attempt) == (4, 1) else (at, attempt),
    )
    found = list(dispatch(workers, [1.0] * 5, Policy(retries=1, straggler=3.0)))
    assert found[4] in ((4, 0), (4, 2))


def test_nothing_to_do() -> None:
    assert list(dispatch(Workers(2), [], USUAL)) == []
