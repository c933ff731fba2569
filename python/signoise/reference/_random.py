"""Twin of ``rust/core/src/random.rs``: addressed random draws, by NumPy's own Philox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What draws are made for; the values are those of ``random::purpose``.
CHECKPOINT_DRAW = 1


def philox_uint64(
    rng_seed: int, purpose: int, replicate: int, unit: int, n: int, *, threads: int | None = None
) -> NDArray[np.uint64]:
    """First ``n`` outputs of the stream at an address, a pure function of all arguments.

    NumPy adds 1 to the counter before it computes a block: the first belongs to ``(1, unit, replicate, 0)``.
    """
    del threads
    key = np.array([rng_seed, purpose], dtype=np.uint64)
    counter = np.array([0, unit, replicate, 0], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(n)


def below(output: int, n: int) -> int:
    """Uniform integer in ``range(n)``: the high 64 bits of a product, biased by less than n / 2**64."""
    return (int(output) * n) >> 64
