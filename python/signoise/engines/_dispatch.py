"""Which partition runs when: in windows, the largest first, died ones again, stragglers twice; states in order.

Nothing here knows what runs partitions, so that all of it can be tested without a cluster and without a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol, TypeVar

from .._errors import EngineError
from ._engine import Progress

Handle = TypeVar("Handle", bound=Hashable)

#: Partitions beyond the next one in order that may be begun, for each slot: so many states wait for their turn.
AHEAD = 8
#: Partitions that are done before any can be called slow.
FEWEST_DONE = 3
#: Seconds; a partition that is late by less is not worth a second copy.
LATE = 5.0
#: Seconds between two looks at partitions that may be slow.
LOOK = 0.5


class Lost(Exception):
    """The process or node that ran a partition is gone, and its state with it."""


class Runner(Protocol[Handle]):
    """What runs partitions."""

    @property
    def slots(self) -> int:
        """Partitions that run at once."""
        ...

    def start(self, at: int) -> Handle:
        """Begin a partition."""
        ...

    def wait(self, handles: Sequence[Handle], seconds: float | None) -> Sequence[Handle]:
        """Those that have ended, as soon as one has; none where `seconds` pass before."""
        ...

    def take(self, handle: Handle) -> Any:
        """The state; raises `Lost`, or what the function raised."""
        ...

    def cancel(self, handle: Handle) -> None:
        """Stop it, wherever it is."""
        ...

    def clock(self) -> float:
        """Seconds since some moment."""
        ...

    def name(self, at: int) -> str:
        """What a partition is called in messages."""
        ...


@dataclass(frozen=True)
class Policy:
    """How patient an engine is."""

    retries: int
    """Times that a partition whose worker died is begun again."""
    straggler: float | None
    """Times longer than its peers that a partition runs before a second copy of it is begun; None: never."""


@dataclass(frozen=True)
class _Run:
    at: int
    since: float


def dispatch(
    runner: Runner[Handle], sizes: Sequence[float], policy: Policy, progress: Progress | None = None
) -> Iterator[Any]:
    """The state of each partition, in order."""
    work = _Work(runner, sizes, policy)
    done, total = 0.0, sum(sizes)
    try:
        for at, size in enumerate(sizes):
            while at not in work.found:
                work.step(at)
            yield work.found.pop(at)
            done += size
            if progress is not None:
                progress(int(done), int(total))
    finally:
        work.cancel(list(work.running))


class _Work:
    """One call of `dispatch`."""

    def __init__(self, runner: Runner[Handle], sizes: Sequence[float], policy: Policy) -> None:
        self.found: dict[int, Any] = {}
        self.running: dict[Any, _Run] = {}
        self._runner: Any = runner
        self._sizes = sizes
        self._policy = policy
        self._idle = dict.fromkeys(range(len(sizes)))
        """Partitions that do not run and have no state."""
        self._lost: Counter[int] = Counter()
        self._paces: list[float] = []
        """Seconds for each unit of size, of partitions that are done."""

    def step(self, first: int) -> None:
        """Begin what can be begun, and wait until something has ended; `first` is the next in order."""
        self._fill(first)
        seconds = LOOK if self._policy.straggler is not None and not self._startable(first) else None
        for handle in self._runner.wait(list(self.running), seconds):
            self._end(handle)
        self._fill(first)

    def cancel(self, handles: Sequence[Any]) -> None:
        """Stop copies that nobody waits for."""
        for handle in handles:
            del self.running[handle]
            self._runner.cancel(handle)

    def _startable(self, first: int) -> list[int]:
        window = first + AHEAD * self._runner.slots
        return [at for at in self._idle if at < window]

    def _fill(self, first: int) -> None:
        while len(self.running) < self._runner.slots:
            startable = self._startable(first)
            if startable:
                at = max(startable, key=lambda one: (self._sizes[one], -one))
                del self._idle[at]
            else:
                late = self._late()
                if late is None:
                    return
                at = late
            self.running[self._runner.start(at)] = _Run(at, self._runner.clock())

    def _late(self) -> int | None:
        """The partition that is latest of those with one copy."""
        if self._policy.straggler is None or len(self._paces) < FEWEST_DONE:
            return None
        pace, now = median(self._paces), self._runner.clock()
        copies = Counter(run.at for run in self.running.values())
        late: dict[int, float] = {}
        for run in self.running.values():
            expected = self._policy.straggler * pace * max(self._sizes[run.at], 1e-9)
            again = copies[run.at] == 1 and self._lost[run.at] <= self._policy.retries
            if again and now - run.since > max(expected, LATE):
                late[run.at] = now - run.since - expected
        return max(late, key=lambda at: late[at]) if late else None

    def _end(self, handle: Any) -> None:
        run = self.running.pop(handle, None)
        if run is None:  # its twin was taken in the same look
            return
        twins = [other for other, its in self.running.items() if its.at == run.at]
        try:
            self.found[run.at] = self._runner.take(handle)
        except Lost as error:
            self._lost[run.at] += 1
            if twins:
                return
            if self._lost[run.at] > self._policy.retries:
                raise EngineError(
                    f"{self._runner.name(run.at)} (partition {run.at + 1} of {len(self._sizes)}) could not be worked "
                    f"on: workers died over it {self._lost[run.at]} times, the last one so: {error}; give them more "
                    "memory (memory=)"
                ) from None
            self._idle[run.at] = None
            return
        self._paces.append((self._runner.clock() - run.since) / max(self._sizes[run.at], 1e-9))
        self.cancel(twins)
