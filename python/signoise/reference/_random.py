"""Twin of ``rust/core/src/random.rs``: addressed random draws, by NumPy's own Philox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What draws are made for; the values are those of ``random::purpose``.
CHECKPOINT_DRAW = 1
BOOTSTRAP = 2
BOOTSTRAP_OUTER = 3
BOOTSTRAP_LAW = 4
SIGN_FLIP = 5
LABEL_PERMUTATION = 6
CHECKPOINT_NOISE = 8
AR1_SURROGATE = 9

_LANES = 16


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


class Words:
    """The wide stream at an address, read one draw at a time: 16 lanes of xoshiro128++ keyed by Philox."""

    def __init__(self, rng_seed: int, purpose: int, replicate: int, unit: int) -> None:
        keys = philox_uint64(rng_seed, purpose, replicate, unit, 32)
        halves = np.stack([keys & np.uint64(0xFFFF_FFFF), keys >> np.uint64(32)], axis=1)
        self._state = halves.astype(np.uint32).reshape(4, _LANES)
        self._state[0] |= ~self._state.any(axis=0)
        self._held: list[int] = []

    def step(self) -> NDArray[np.uint32]:
        """The next whole step, a word a lane; words left of the step before are passed over."""
        s0, s1, s2, s3 = self._state
        out = _rotated(s0 + s3, 7) + s0
        shifted = s1 << np.uint32(9)
        s2 = s2 ^ s0
        s3 = s3 ^ s1
        self._state = np.stack([s0 ^ s3, s1 ^ s2, s2 ^ shifted, _rotated(s3, 11)])
        self._held = []
        return out

    def word(self) -> int:
        """The next word: 32 fair bits."""
        if not self._held:
            self._held = self.step().tolist()
        return self._held.pop(0)

    def double_word(self) -> int:
        """The next two words, the first one low: 64 fair bits."""
        low = self.word()
        return self.word() << 32 | low

    def uniform(self) -> float:
        """Uniform in [0, 1), a multiple of 2**-53."""
        return (self.double_word() >> 11) * 2.0**-53

    def below(self, n: int) -> int:
        """Uniform integer in ``range(n)``: words that would favour some of them are passed over."""
        while True:
            product = self.word() * n
            if product % 2**32 >= 2**32 % n:
                return product >> 32


def _rotated(x: NDArray[np.uint32], by: int) -> NDArray[np.uint32]:
    return (x << np.uint32(by)) | (x >> np.uint32(32 - by))


def wide_uint32(
    rng_seed: int, purpose: int, replicate: int, unit: int, n: int, *, threads: int | None = None
) -> NDArray[np.uint32]:
    """First ``n`` words of the wide stream at an address, a pure function of all arguments."""
    del threads
    words = Words(rng_seed, purpose, replicate, unit)
    steps = [words.step() for _ in range(-(-n // _LANES))]
    return np.concatenate([*steps, np.empty(0, dtype=np.uint32)])[:n]
