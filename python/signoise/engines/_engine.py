"""What an engine is: something that maps a pure function over partitions and gives the states back in their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias, TypeVar, overload

from .._errors import OptionError
from .._kernels import on_twins
from .._options import check_choice

#: ``host:6379``, ``ray://host:10001``
_ADDRESS = re.compile(r"(ray://)?[\w.\-\[\]:]+:\d+(\?.*)?")

Partition = TypeVar("Partition")
State = TypeVar("State")
Item = TypeVar("Item")
Progress: TypeAlias = Callable[[int, int], None]


class Engine(Protocol):
    """Where the work of a verb is done."""

    def map(
        self,
        function: Callable[[Partition], State],
        partitions: Sequence[Partition],
        *,
        sizes: Sequence[float] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[State]:
        """The state of each partition, in the order of the partitions.

        Parameters
        ----------
        function
            Pure: a partition may be mapped more than once, and any of its equal states is taken.
        partitions
            What the function is called with, one at a time. They may have a ``name``, for messages, and a ``path``, a
            file that an engine may want to be near. Functions, partitions and states can be pickled.
        sizes
            How much work each is, in any unit.
        progress
            Called with the work done so far and all of it, in the unit of `sizes`.
        """
        ...

    @property
    def shares(self) -> int:
        """Partitions that work which can be cut anywhere is cut into."""
        ...

    def threads_of(self, threads: int | None) -> int | None:
        """Threads of one call of the function, where the caller of the verb asked for `threads`."""
        ...


class Made(Sequence[Partition]):
    """Partitions that are made when they are asked for, so that they are not all in memory at once."""

    def __init__(self, items: Sequence[Item], make: Callable[[Item], Partition]) -> None:
        self._items = items
        self._make = make

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, at: int) -> Partition: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Partition]: ...
    def __getitem__(self, at: int | slice) -> Partition | Sequence[Partition]:
        if isinstance(at, slice):
            return Made(self._items[at], self._make)
        return self._make(self._items[at])


class Local:
    """One partition after the other in this process, each on as many threads as the caller allows."""

    shares = 1

    def __repr__(self) -> str:
        return "Local()"

    def map(
        self,
        function: Callable[[Partition], State],
        partitions: Sequence[Partition],
        *,
        sizes: Sequence[float] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[State]:
        """As every engine."""
        done, weights = 0.0, sizes_of(partitions, sizes)
        total = sum(weights)
        for partition, size in zip(partitions, weights, strict=True):
            yield function(partition)
            done += size
            if progress is not None:
                progress(int(done), int(total))

    def threads_of(self, threads: int | None) -> int | None:
        """As the caller asked."""
        return threads


LOCAL = Local()


def sizes_of(partitions: Sequence[object], sizes: Sequence[float] | None) -> Sequence[float]:
    """The given sizes, or one for each partition."""
    return [1.0] * len(partitions) if sizes is None else sizes


def as_engine(engine: str | Engine) -> Engine:
    """An engine by its name, by the address of a Ray cluster (``"host:6379"``, ``"ray://host:10001"``), or as it is."""
    found = _named(engine) if isinstance(engine, str) else engine
    if not (hasattr(found, "map") and hasattr(found, "threads_of")):
        raise OptionError(
            f'engine must be "local", "ray" or one of signoise.engines, e.g. Ray(workers=8), got {engine!r}'
        )
    if on_twins() and not isinstance(found, Local):
        raise OptionError(f"the definitions in NumPy run in this process, got engine={engine!r}")
    return found


def _named(engine: str) -> Engine:
    address = _ADDRESS.fullmatch(engine) is not None
    if engine.startswith("ray://") and not address:
        raise OptionError(f'engine: an address names its port, e.g. "ray://head:10001", got {engine!r}')
    if not address:
        check_choice("engine", engine, ("local", "ray"))
    if engine == "local":
        return LOCAL
    from ._ray import Ray

    return Ray(engine if address else None)
