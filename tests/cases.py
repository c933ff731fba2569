"""One registry of kernels: how to make an input for each, and how closely it must agree with its twin.

Read by ``test_twins.py``, ``test_invariance.py`` and ``benches/bench_kernels.py``. A case's name is the name of the
function in ``signoise._core`` and in ``signoise.reference``.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from signoise import reference
from signoise.reference._dispersion import SIGNAL_VARIANTS

Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """A kernel, an input maker and a tolerance; ``rtol=0`` means that every bit must agree."""

    name: str
    make: Callable[[np.random.Generator, int], Arguments]
    """From a generator and a size (number of groups) to positional arguments."""
    label: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    rtol: float = 1e-12
    atol: float = 1e-15

    def __str__(self) -> str:
        return f"{self.name}[{self.label}]" if self.label else self.name


def offsets_of(lengths: Any) -> np.ndarray:
    """Offsets of consecutive segments with these lengths."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.uintp)


def ragged(rng: np.random.Generator, groups: int, longest: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Scores on a coarse grid (so that ties occur) in segments of length 0 to ``longest``."""
    lengths = rng.integers(0, longest + 1, groups)
    values = np.round(rng.normal(0.5, 0.1, int(lengths.sum())), 2)
    return values, offsets_of(lengths)


def spaced(rng: np.random.Generator, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Series with rising, unevenly spaced positions."""
    values, offsets = ragged(rng, groups)
    positions = np.sort(rng.choice(np.arange(1, 10 * len(values) + 2), len(values), replace=False)) * 1e9
    return values, positions, offsets


def summarised(rng: np.random.Generator, groups: int) -> Arguments:
    """Columns of ``window_summary`` for a few series a group, some of them short."""
    runs = offsets_of(rng.integers(0, 6, groups))
    values, positions, offsets = spaced(rng, int(runs[-1]))
    columns = reference.window_summary(values, positions, offsets, 5)
    names = ("n", "mean", "m2", "slope", "sxx", "residual", "successive")
    return (*(columns[name] for name in names), runs)


def weighted(rng: np.random.Generator, groups: int) -> Arguments:
    """Values with byte counts as weights."""
    values, offsets = ragged(rng, groups)
    return values, rng.integers(0, 50, len(values)).astype(float), offsets


#: E + exp(a - alpha log x), x the one column.
POWER_LAW = (
    np.array([1, 1, 1, 2, 22, 21, 11, 20], dtype=np.uint8),
    np.array([0, 1, 2, 0, 2, 1, 5, 0], dtype=np.uint32),
    np.array([0, 0, 0, 0, 3, 4, 0, 6], dtype=np.uint32),
    np.zeros(8),
)
#: Every operation once: maximum(sigmoid(p0 x), 2) / softplus(p1) - log(exp(p2) + x) * (-p2).
ALL_OPERATIONS = (
    np.array([1, 2, 22, 13, 0, 24, 1, 14, 23, 1, 11, 20, 12, 10, 22, 21], dtype=np.uint8),
    np.array([0, 0, 0, 2, 0, 3, 1, 6, 5, 2, 9, 10, 11, 9, 12, 8], dtype=np.uint32),
    np.array([0, 0, 1, 0, 0, 4, 0, 0, 7, 0, 0, 1, 0, 0, 13, 14], dtype=np.uint32),
    np.array([0, 0, 0, 0, 0.6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
)


def formed(rng: np.random.Generator, groups: int) -> Arguments:
    """A form of every operation, a column and some sets of parameters."""
    return ALL_OPERATIONS, rng.uniform(0.1, 3, (1, 30 * groups)), rng.normal(0, 1, (groups, 3))


def curves(rng: np.random.Generator, groups: int) -> Arguments:
    """Noisy power laws with a few starts each."""
    lengths = rng.integers(12, 20, groups)
    offsets = offsets_of(lengths)
    n = int(offsets[-1])
    x = rng.uniform(0, 4, n)
    y = (1 + np.exp(0.5 - 0.8 * x)) * np.exp(0.05 * rng.standard_normal(n))
    starts = np.tile([[0.5, 0.0, 0.5], [0.9, 0.2, 1.0]], (groups, 1))
    lower, upper = np.array([0.0, -9.0, 0.0]), np.array([9.0, 9.0, 9.0])
    linear = np.array([True, False, False])
    return (
        POWER_LAW,
        x[None],
        y,
        rng.integers(1, 3, n).astype(float),
        offsets,
        starts,
        2 * np.arange(groups + 1, dtype=np.uintp),
        lower,
        upper,
        linear,
    )


def matched(rng: np.random.Generator, groups: int) -> Arguments:
    """Both sides of matched members, on a grid so coarse that all kinds of ties occur, and their offsets."""
    lengths = rng.integers(0, 26, groups)
    small, target = rng.integers(0, 12, (2, int(lengths.sum()))) / 10
    return small, target, offsets_of(lengths)


def replicated(rng: np.random.Generator, groups: int) -> Arguments:
    """Members as rows, replicates as columns: a block of them and a part of one."""
    small, target = rng.integers(0, 12, (2, groups, 70)) / 10
    return small, target


def surrogates(rng: np.random.Generator, groups: int) -> Arguments:
    """Taus of series of a few lengths and autocorrelations, some undefined."""
    n = rng.choice([1, 2, 5, 12], groups).astype(np.uint64)
    tau = rng.choice([-1.0, -0.2, 0.0, 0.6, 1.0, np.nan], groups)
    return tau, n, rng.choice([0.0, 0.4, 0.9, -0.3, 1.0, np.nan], groups), 50, 17


def decidable(rng: np.random.Generator, groups: int) -> Arguments:
    small, target, offsets = matched(rng, groups)
    return small, target, rng.choice([0.0, 0.25, 5.0, np.nan], groups), offsets


def noisy(rng: np.random.Generator, groups: int) -> Arguments:
    """Members with an sd a side: mostly positive, some 0, and NaN in one group at most."""
    small, target, offsets = matched(rng, groups)
    sds = rng.gamma(2.0, 0.1, (2, len(small))) * (rng.random((2, len(small))) > 0.3)
    sds[0, :1] = np.nan
    return small, target, sds[0], sds[1], offsets


def addressed_noise(rng: np.random.Generator, groups: int) -> Arguments:
    """Members with an sd a side and addresses of draws; a block of draws and a part of one."""
    return (*noisy(rng, groups), rng.integers(0, 2**64, groups, dtype=np.uint64), 70, 17)


def checkpoint_windows(rng: np.random.Generator, groups: int) -> Arguments:
    """Members' windows a side, one of them empty, with an address a group."""
    members = rng.integers(0, 8, groups)
    sides: list[np.ndarray] = []
    for _ in range(2):
        lengths = rng.integers(1, 6, int(members.sum()))
        lengths[:1] = 0
        sides += [rng.integers(0, 12, int(lengths.sum())) / 10, offsets_of(lengths)]
    return (*sides, offsets_of(members), rng.integers(0, 2**64, groups, dtype=np.uint64), 150, 17)


def deletions(rng: np.random.Generator, groups: int) -> Arguments:
    """Estimates (both bounds and NaN among them) with the estimates after each deletion."""
    values, offsets = ragged(rng, groups, 10)
    estimates = rng.choice([0.0, 1.0, 0.5, 0.83, np.nan], groups)
    return estimates, values, rng.uniform(2.0, 4.0, groups), offsets, 0.95


def variant(rng: np.random.Generator, groups: int, name: str) -> Arguments:
    """A name and its four ragged vectors: scores, last scores, step noise, data noise."""
    scores, last = ragged(rng, groups, 15), ragged(rng, groups, 30)
    sds = [
        (np.abs(values - 0.5), offsets)
        for values, offsets in (ragged(rng, groups, 15), ragged(rng, groups, 4))
    ]
    return (name, *scores, *last, *sds[0], *sds[1])


def differences(rng: np.random.Generator, groups: int) -> np.ndarray:
    """Differences of one kind: of 0/1 scores, of means over three, of real scores on a grid or not, or none at all."""
    n = int(groups)
    return [
        lambda: rng.integers(-1, 2, n).astype(float),
        lambda: rng.integers(0, 4, n) / 3 - rng.integers(0, 4, n) / 3,
        lambda: np.round(rng.normal(0.1, 0.3, n), 2),
        lambda: rng.normal(0.0, 1.0, n) * 10.0 ** rng.integers(-3, 4),
        lambda: np.zeros(n),
    ][rng.integers(5)]()


def flips(rng: np.random.Generator, groups: int) -> Arguments:
    """Groups of differences, one of them with a NaN, some of one unit."""
    parts = [differences(rng, n) for n in rng.choice([0, 1, 5, 8, 9, 33, 64, 70], groups)]
    values = np.concatenate(parts)
    values[-1:] = np.nan
    return (
        values,
        offsets_of([len(part) for part in parts]),
        rng.integers(0, 4, groups).astype(np.uint64),
        300,
        17,
    )


def labelled(rng: np.random.Generator, groups: int) -> Arguments:
    """Two samples a group, of about the same size or not."""
    sides: list[np.ndarray] = []
    for sizes in ([0, 1, 3, 20, 33], [1, 2, 4, 12, 40]):
        parts = [differences(rng, n) + 2.0 for n in rng.choice(sizes, groups)]
        sides += [np.concatenate(parts), offsets_of([len(part) for part in parts])]
    return (*sides, rng.integers(0, 4, groups).astype(np.uint64), 280, 17)


def compared(rng: np.random.Generator, instances: int) -> Arguments:
    """Rows of scores (two alike but for their last digits, one with a NaN) and pairs of them."""
    rows = np.stack([differences(rng, instances) for _ in range(6)])
    rows[1] = rows[0] + 0.7 - 0.7
    rows[2, :1] = np.nan
    left, right = (rng.integers(0, 6, 9).astype(np.uintp) for _ in range(2))
    return rows, left, right


def degrees_of_freedom(rng: np.random.Generator, n: int) -> np.ndarray:
    """Whole, fractional, infinite and (rarely) impossible ones."""
    df = np.exp(rng.uniform(np.log(0.5), np.log(1e4), n))
    whole, infinite, wrong = rng.random((3, n))
    df = np.where(whole < 0.3, np.ceil(df), df)
    df = np.where(infinite < 0.15, np.inf, df)
    return np.where(wrong < 0.05, rng.choice([0.0, -1.0, np.nan], n), df)


def probabilities(rng: np.random.Generator, n: int) -> np.ndarray:
    """Both tails, the middle, the ends and (rarely) impossible ones."""
    p = rng.choice([0.0005, 0.025, 0.05, 0.5, 0.95, 0.975, 0.9995, rng.random()], n)
    return np.where(rng.random(n) < 0.1, rng.choice([0.0, 1.0, -0.1, 1.1, np.nan], n), p)


def members(rng: np.random.Generator, n: int) -> np.ndarray:
    """How many values a range is taken over."""
    return rng.choice([1.0, 2.0, 2.5, 3.0, 5.0, 8.0, 25.0, 200.0], n, p=[0.04, 0.16, 0.04, *[0.16] * 4, 0.12])


def _scheme(scheme: str) -> dict[str, Any]:
    return {"scheme": scheme, "block_length": 3}


def bootstrap_strata(rng: np.random.Generator, groups: int) -> Arguments:
    """Strata of 3 to 40 instances and, sometimes, one so large that its counts are split."""
    lengths = rng.integers(3, 40, groups)
    lengths[0] = rng.choice([3, 255, 256, 1100])
    units = rng.integers(0, 2**64, groups, dtype=np.uint64)
    return offsets_of(lengths), units, 20, int(rng.integers(0, 2**63))


def bootstrap_rows(rng: np.random.Generator, groups: int) -> Arguments:
    """Totals of 1 to 8 models over clusters in strata, and the sizes of the clusters."""
    offsets, units, n_resamples, rng_seed = bootstrap_strata(rng, min(groups, 12))
    sizes = rng.integers(1, 9, int(offsets[-1])).astype(float)
    totals = sizes * rng.normal(0.5, 0.2, (int(rng.integers(1, 9)), len(sizes)))
    return totals, rng.choice([None, 1]) and sizes, offsets, units, n_resamples, rng_seed


def clusters(rng: np.random.Generator, groups: int) -> Arguments:
    """The same in one stratum."""
    totals, sizes, offsets, units, *rest = bootstrap_rows(rng, groups)
    return totals, sizes, offsets[[0, -1]], units[:1], *rest


def bootstrap_answers(rng: np.random.Generator, groups: int) -> Arguments:
    """0/1 scores of many models."""
    offsets, *rest = bootstrap_strata(rng, min(groups, 12))
    answers = rng.random((int(rng.integers(1, 20)), int(offsets[-1]))) < 0.6
    return answers.astype(float), None, offsets, *rest


def crossed_rows(rng: np.random.Generator, groups: int) -> Arguments:
    """Seeds of a few models over the same instances, all there or with gaps."""
    offsets, units, n_resamples, rng_seed = bootstrap_strata(rng, min(groups, 4))
    row_offsets = offsets_of(rng.integers(0, 5, 4))
    totals = rng.normal(0.5, 0.2, (int(row_offsets[-1]), int(offsets[-1])))
    there = (rng.random(totals.shape) < 0.8).astype(float) if rng.random() < 0.5 else None
    totals = totals if there is None else totals * there
    row_units = rng.integers(0, 2**64, 4, dtype=np.uint64)
    return totals, there, row_offsets, row_units, offsets, units, n_resamples, rng_seed


def nested_rows(rng: np.random.Generator, groups: int) -> Arguments:
    """Seeds of a few models, each over instances of its own; one of them over none."""
    values, offsets = ragged(rng, 2 * min(groups, 12))
    row_offsets = np.append(np.arange(0, len(offsets) - 1, 2), len(offsets) - 1).astype(np.uintp)
    units = rng.integers(0, 2**64, len(row_offsets) - 1, dtype=np.uint64)
    return values, offsets, row_offsets, units, 10, int(rng.integers(0, 2**63))


def one_stratum(rng: np.random.Generator, groups: int) -> Arguments:
    """Values on a grid and probabilities in no order, both ends among them."""
    n = int(rng.choice([3, 10, 255, 600]))
    values = np.round(rng.normal(size=(int(rng.integers(1, 5)), n)), 1)
    probabilities = np.array([0.5, 0.0, 1.0, 0.25, 0.975])
    return values, probabilities, offsets_of([n]), np.array([groups], dtype=np.uint64), 20, 3


def binomials(rng: np.random.Generator, groups: int) -> Arguments:
    """Ones of few and of many instances, none and all of them too."""
    n = rng.choice([0, 1, 2, 30, 1000, 100_000], groups).astype(np.uint64)
    share = rng.choice([0.0, 0.01, 0.5, 0.9, 1.0], groups)
    return (n * share).astype(np.uint64), n, rng.integers(0, 2**64, groups, dtype=np.uint64), 30, 17


def trinomials(rng: np.random.Generator, groups: int) -> Arguments:
    """Instances that differ one way and the other: none, all, all one way."""
    n = rng.choice([0, 1, 2, 30, 300], groups).astype(np.uint64)
    up = (n * rng.choice([0.0, 0.1, 0.5, 1.0], groups)).astype(np.uint64)
    down = ((n - up) * rng.choice([0.0, 0.2, 1.0], groups)).astype(np.uint64)
    return up, down, n, rng.integers(0, 2**64, groups, dtype=np.uint64), 30, 17


def replicates(
    rng: np.random.Generator, groups: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Replicates on a grid (so that some equal the estimate), estimates, accelerations and standard errors."""
    values = np.round(rng.normal(0.5, 0.1, (groups, int(rng.choice([1, 2, 101, 1000])))), 2)
    estimates = np.round(rng.normal(0.5, 0.05, groups), 2)
    accelerations = rng.normal(0, 0.03, groups)
    if groups > 3:
        values[0, 0] = estimates[1] = accelerations[2] = np.nan
        estimates[3] = 2.0
    return values, estimates, accelerations, rng.gamma(3.0, 0.03, values.shape)


def studentised(rng: np.random.Generator, groups: int) -> Arguments:
    values, estimates, _, stderrs = replicates(rng, groups)
    return values, stderrs, estimates, stderrs[:, 0].copy(), 0.95


def matrices(rng: np.random.Generator, n: int) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """Matrices of both precisions with NaN and absent cells, rows of one value among them, and their validity."""
    found: list[np.ndarray] = []
    validity: list[np.ndarray | None] = []
    for at in range(n):
        rows, width = (int(x) for x in rng.integers(0, [9, 60]))
        values = np.round(rng.normal(0.5, 0.1, (rows, width)), 2)
        values[:1] = 0.3
        values[rng.random(values.shape) < rng.choice([0.0, 0.0, 0.2, 1.0])] = np.nan
        found.append(values.astype(np.float32) if at % 2 else values)
        validity.append(packed(rng, rows * width, rng.choice([0.5, 0.99])) if at % 3 else None)
    return found, validity


def packed(rng: np.random.Generator, n: int, share: float) -> np.ndarray:
    """Random bits, and ones in the padding, which must not count."""
    bits = rng.random(n) < share
    return np.packbits(np.concatenate([bits, np.ones(-n % 8, bool)]), bitorder="little")


def weighted_matrices(rng: np.random.Generator, n: int) -> Arguments:
    found, validity = matrices(rng, n)
    weights = [rng.integers(0, 50, matrix.shape).astype(rng.choice(["f4", "f8"])) for matrix in found]
    return found, weights, validity


def bit_matrices(rng: np.random.Generator, n: int) -> Arguments:
    shapes = rng.integers(0, [9, 200], (n, 2))
    values = [packed(rng, int(rows * width), 0.7) for rows, width in shapes]
    validity = [
        packed(rng, int(rows * width), 0.9) if at % 2 else None for at, (rows, width) in enumerate(shapes)
    ]
    return values, validity, *(np.ascontiguousarray(shapes[:, i]).astype(np.uintp) for i in (0, 1))


def tries(rng: np.random.Generator, n: int, *, longest: int = 30) -> Arguments:
    """Samples of n items and right ones among them, and numbers of tries, some beyond the samples."""
    samples = rng.integers(1, longest + 1, n).astype(np.uint32)
    right = rng.integers(0, samples + 1).astype(np.uint32)
    return samples, right, np.array([1, 2, 7, longest + 1], dtype=np.uint32)


def few_samples(rng: np.random.Generator, n: int) -> Arguments:
    """The same, of so many items with so few samples that tables are worth while."""
    return tries(rng, 20 * n, longest=4)


def right_wrong(rng: np.random.Generator, n: int, *, gaps: bool = False) -> tuple[np.ndarray]:
    found = (rng.random((n, 301)) < rng.random((n, 1))).astype(np.uint8)
    if gaps:
        found[rng.random(found.shape) < 0.2] = 255
    return (found,)


def answers(rng: np.random.Generator, n: int, *, gaps: bool = False) -> Arguments:
    """Right and wrong of n subjects, with easy and hard items and some that all got right."""
    rows, width = n, 2 * n
    odds = rng.normal(size=(rows, 1)) * rng.uniform(0.5, 2.0, width) + rng.normal(0.0, 1.5, width)
    right = rng.random((rows, width)) < 1 / (1 + np.exp(-odds))
    right[:, 0] = True
    validity = packed(rng, rows * width, 0.8) if gaps else None
    return np.packbits(right, bitorder="little"), validity, rows, width


def many_answers(rng: np.random.Generator, n: int) -> Arguments:
    """So many subjects that 2PL items have a maximum of the likelihood without a prior, most of them."""
    odds = rng.normal(size=(400, 1)) * rng.uniform(0.8, 1.5, n) + rng.normal(0.0, 0.5, n)
    right = rng.random((400, n)) < 1 / (1 + np.exp(-odds))
    return np.packbits(right, bitorder="little"), None, 400, n


def known_items(rng: np.random.Generator, n: int) -> Arguments:
    values, validity, rows, width = answers(rng, n, gaps=True)
    slopes = np.where(rng.random(width) < 0.1, np.nan, rng.normal(1.0, 0.5, width))
    return values, validity, rows, width, slopes, rng.normal(size=width)


NO_PRIORS = {"discrimination_sd": np.inf, "difficulty_sd": np.inf}


def few(n: int) -> int:
    """Number of rows for a twin that takes a fifth of a second a row."""
    return 1 + n // 6


FILES = tempfile.TemporaryDirectory(prefix="signoise-cases-")
"""Where cases that read files write them."""


def samples(rng: np.random.Generator, rows: int) -> list[bytes]:
    """Lines as harnesses write them, with drifting types, nesting and escapes."""
    scores = (0, 1.0, True, None, float("nan"), float("-inf"), "0.5", [1, 2], {"a": {"b": []}}, 2**60, -0.25)
    return [
        json.dumps(
            {
                "doc_id": int(rng.integers(1e6)),
                "doc": {
                    "question": 'ü "quoted" \\ \n' * int(rng.integers(5)),
                    "choices": [[], {}, [["x", None]]],
                },
                "acc": scores[rng.integers(len(scores))],
                **({"näme": "\U0001f600/\t"} if rng.random() < 0.5 else {}),
            },
            ensure_ascii=bool(rng.random() < 0.5),
        ).encode()
        for _ in range(rows)
    ]


def json_files(rng: np.random.Generator, rows: int) -> Arguments:
    """A file of lines with damage, a packed one, an array, and one that is not there."""
    lines = samples(rng, rows)
    damaged = [*lines, b"", b"[1]", b'{"a": "\xff"}', lines[0][:-3]]
    contents = {
        "lines.jsonl": b"\xef\xbb\xbf" + b"\r\n".join(damaged),
        "members.jsonl.gz": b"".join(gzip.compress(line + b"\n") for line in lines),
        "array.jsonl": b"[\n" + b",\n".join(lines) + b"\n]\n",
    }
    for name, content in contents.items():
        Path(FILES.name, name).write_bytes(content)
    return ([str(Path(FILES.name, name)) for name in (*contents, "nowhere.jsonl")],)


def zip_file(rng: np.random.Generator, members: int) -> str:
    path = Path(FILES.name, "members.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in range(members):
            archive.writestr(f"folder/ü{member}", rng.integers(0, 9, 5000, dtype=np.uint8).tobytes())
    return str(path)


def zip_members(rng: np.random.Generator, members: int) -> Arguments:
    return zip_file(rng, members), [f"folder/ü{member}" for member in rng.permutation(members)]


def parquet_files(rng: np.random.Generator, n: int) -> Arguments:
    """Two tables sorted by their keys, one instance of one group twice, some scores missing, NaN or infinite."""
    paths = []
    for at in range(2):
        rows = 12 * n
        real = rng.normal(2, 0.5, rows)
        real[rng.integers(0, rows, 3)] = (np.nan, np.inf, -np.inf)
        frame = pl.DataFrame(
            {
                "run": np.repeat([f"r{at}", f"s{at}"], rows // 2),
                "step": np.repeat(np.arange(4), rows // 4),
                "task": np.repeat(np.arange(12), n) % 3,
                "id": np.tile(np.arange(n), 12),
                "acc": rng.integers(0, 2, rows),
                "loss": real,
            }
        ).with_columns(
            acc=pl.when(pl.col("id") != 1).then("acc"),
            id=pl.when(pl.int_range(rows) != 1).then("id").otherwise(0),
        )
        path = Path(FILES.name, f"table{at}.parquet")
        frame.write_parquet(path, row_group_size=6 * n)
        paths.append(str(path))
    return paths, ["run", "step", "task"], ["acc", "loss"]


def some_parquet(rng: np.random.Generator, n: int) -> Arguments:
    """Two tables with the same columns, one with others, and a file that is none."""
    paths = parquet_files(rng, n)[0]
    other, none = Path(FILES.name, "other.parquet"), Path(FILES.name, "none.parquet")
    pl.read_parquet(paths[0]).drop("task").write_parquet(other)
    none.write_bytes(b"PAR1 and no footer PAR1")
    return ([paths[0], str(other), str(none), paths[1]],)


CASES: list[Case] = [
    Case(
        "aggregate_parquet",
        parquet_files,
        options={"by": 2, "inner": [False, False, True], "identity": "id"},
        rtol=1e-9,
    ),
    Case("archive_names", lambda rng, n: (zip_file(rng, n),)),
    Case("archive_read", zip_members, options={"max_bytes": 5000}),
    Case("fit_laws", curves, label="huber", options={"delta": 0.1}, rtol=1e-5),
    Case("fit_laws", curves, label="squares", options={"loss": "square", "log": False}, rtol=1e-5),
    Case(
        "fit_laws",
        curves,
        label="penalty",
        options={"loss": "square", "overestimate_penalty": 3.0},
        rtol=1e-5,
    ),
    Case("law_values", formed, rtol=1e-12, atol=1e-13),
    Case("law_derivatives", formed, rtol=1e-11, atol=1e-12),
    Case("parquet_footers", some_parquet),
    Case("read_json_lines", json_files),
    Case("read_json_lines", json_files, label="odd", options={"odd": ["doc", "elsewhere"]}),
    Case("read_json_lines", json_files, label="skip", options={"skip": ["doc", "elsewhere"]}),
    Case(
        "read_json_lines", json_files, label="only", options={"only": ["doc_id", "elsewhere"], "max_depth": 3}
    ),
    Case("expected_range", lambda rng, n: (members(rng, n),), rtol=1e-12),
    Case("normal_cdf", lambda rng, n: (rng.normal(0, 4, n),)),
    Case("normal_quantile", lambda rng, n: (probabilities(rng, n),)),
    Case("t_cdf", lambda rng, n: (rng.standard_t(2, n), degrees_of_freedom(rng, n)), rtol=1e-10),
    Case("t_quantile", lambda rng, n: (probabilities(rng, n), degrees_of_freedom(rng, n)), rtol=1e-10),
    Case("chi2_quantile", lambda rng, n: (probabilities(rng, n), degrees_of_freedom(rng, n)), rtol=1e-10),
    Case(
        "f_quantile",
        lambda rng, n: (probabilities(rng, n), degrees_of_freedom(rng, n), degrees_of_freedom(rng, n)),
        rtol=1e-10,
    ),
    Case(
        "beta_cdf",
        lambda rng, n: (rng.random(n), 0.5 * degrees_of_freedom(rng, n), 0.5 * degrees_of_freedom(rng, n)),
        rtol=1e-10,
        atol=1e-300,
    ),
    Case(
        "beta_quantile",
        lambda rng, n: (
            probabilities(rng, n),
            0.5 * degrees_of_freedom(rng, n),
            0.5 * degrees_of_freedom(rng, n),
        ),
        rtol=1e-10,
    ),
    Case(
        "studentised_range_cdf",
        lambda rng, n: (np.abs(rng.normal(0, 5, n)), members(rng, n), degrees_of_freedom(rng, n)),
        rtol=1e-9,
        atol=1e-12,
    ),
    Case(
        "studentised_range_quantile",
        lambda rng, n: (probabilities(rng, few(n)), members(rng, few(n)), degrees_of_freedom(rng, few(n))),
        rtol=1e-8,
    ),
    Case(
        "autocorrelation_factors",
        lambda rng, n: (
            rng.integers(1, 60, n).astype(float),
            rng.choice([0.0, 0.3, 0.95, 1.0, *rng.random(3)], n),
        ),
        rtol=1e-10,
    ),
    Case("agreement_columns", replicated),
    Case("agreement_decidable", decidable),
    Case("agreement_weighted", matched),
    Case("expected_agreement", noisy),
    Case("jackknife_interval", deletions),
    Case("monotonicity_ar1", surrogates),
    Case("noisy_agreement", addressed_noise, rtol=1e-9, atol=1e-12),
    Case("pair_agreement", matched, rtol=0.0, atol=0.0),
    *(
        Case(name, lambda rng, n: (*(int(x) for x in rng.integers(0, 2**63, 4)), 100 * n + 3), rtol=0.0)
        for name in ("philox_uint64", "wide_uint32")
    ),
    Case("sampled_agreement", checkpoint_windows),
    Case("trailing_mean", lambda rng, n: (*ragged(rng, n), 5)),
    Case("trailing_ema", lambda rng, n: (*ragged(rng, n), 5)),
    *(
        Case("bootstrap_counts", bootstrap_strata, label=scheme, options=_scheme(scheme), rtol=0.0)
        for scheme in ("multinomial", "poisson", "moving_block", "stationary_block")
    ),
    *(
        Case("bootstrap_means", make, label=f"{make.__name__}, {label}", options=options)
        for make in (bootstrap_rows, bootstrap_answers)
        for label, options in (
            ("overall", {}),
            ("macro", {"macro_mean": True}),
            ("poisson", _scheme("poisson")),
            ("blocks", _scheme("stationary_block")),
        )
    ),
    Case("bootstrap_bayesian", bootstrap_rows),
    Case("bootstrap_crossed", crossed_rows),
    Case("bootstrap_crossed", crossed_rows, label="poisson", options=_scheme("poisson")),
    Case("bootstrap_nested", nested_rows),
    *(
        Case("bootstrap_quantiles", one_stratum, label=scheme, options=_scheme(scheme))
        for scheme in ("multinomial", "poisson")
    ),
    Case("bootstrap_estimates", lambda rng, n: bootstrap_rows(rng, n)[:3], rtol=1e-9),
    Case(
        "bootstrap_estimates",
        lambda rng, n: bootstrap_rows(rng, n)[:3],
        label="macro",
        options={"macro_mean": True},
        rtol=1e-9,
    ),
    Case("bootstrap_binomial", binomials, rtol=0.0, atol=0.0),
    Case("bootstrap_trinomial", trinomials, rtol=0.0, atol=0.0),
    *(
        Case(
            "bootstrap_interval",
            lambda rng, n, m=method: (*replicates(rng, n)[:3], m, 0.9),
            label=method,
            rtol=1e-10,
        )
        for method in ("percentile", "basic", "bca")
    ),
    Case("bootstrap_studentised", clusters, rtol=1e-9),
    Case("bootstrap_t_interval", studentised, rtol=1e-10),
    Case("bit_matrix_counts", bit_matrices, rtol=0.0, atol=0.0),
    Case("bit_matrix_moments", bit_matrices),
    *(
        Case(
            "fit_item_response",
            make,
            label=label,
            options=options | {"tolerance": 1e-9},
            rtol=1e-6,
            atol=1e-7,
        )
        for label, make, options in (
            ("2pl", answers, {}),
            ("1pl", answers, {"common": True}),
            ("2pl, gaps", partial(answers, gaps=True), {}),
            ("1pl, no priors, gaps", partial(answers, gaps=True), {"common": True, **NO_PRIORS}),
            ("2pl, no priors", many_answers, NO_PRIORS),
        )
    ),
    Case("sample_counts", right_wrong, rtol=0.0),
    Case("sample_counts", partial(right_wrong, gaps=True), label="gaps", rtol=0.0),
    Case("sample_counts", lambda rng, n: (right_wrong(rng, n)[0] == 1,), label="booleans", rtol=0.0),
    *(
        Case(
            "pass_probabilities",
            make,
            label=f"{make.__name__}, {estimator}, {success}",
            options={"estimator": estimator, "success": success},
            atol=1e-15,
        )
        for make in (tries, few_samples)
        for estimator, success in (
            ("unbiased", "any"),
            ("unbiased", "all"),
            ("plug_in", "any"),
            ("plug_in", "all"),
            ("compat", "any"),
        )
    ),
    Case("item_abilities", known_items, rtol=1e-8, atol=1e-9),
    Case("matrix_moments", matrices),
    Case("matrix_weighted_means", weighted_matrices),
    Case("segment_moments", ragged),
    Case("segment_weighted_mean", weighted),
    Case("window_summary", lambda rng, n: (*spaced(rng, n), 5), rtol=1e-9, atol=1e-13),
    *(
        Case(
            "group_noise",
            lambda rng, n, name=name, ddof=ddof: (*summarised(rng, n), name, ddof),
            label=f"{name},ddof={ddof}",
            rtol=1e-9,
        )
        for name in ("within", "mean_sd", "pooled", "detrended", "successive_difference")
        for ddof in (0, 1)
    ),
    *(
        Case(
            "signal_variant_groups",
            lambda rng, n, name=name: variant(rng, n, name),
            label=name,
            rtol=1e-11,
            atol=1e-14,
        )
        for name in SIGNAL_VARIANTS
    ),
    Case("smoothness_groups", ragged, rtol=1e-11),
    Case("smoothness_groups", lambda rng, n: ragged(rng, n, 150), label="long", rtol=1e-11),
    Case("label_permutation_test", labelled),
    *(
        Case("max_t_test", lambda rng, n, m=m: (*compared(rng, m or n), 5, 270, 17), label=label)
        for label, m in (("enumerated", 8), ("sampled", None))
    ),
    *(
        Case("max_t_quantiles", lambda rng, n, m=m: (*compared(rng, m or n), 0.9, 5, 270, 17), label=label)
        for label, m in (("enumerated", 8), ("sampled", None))
    ),
    Case("sign_flip_test", flips),
]
