"""Every kernel against its NumPy twin: same name, same signature, same answer."""

from __future__ import annotations

import inspect

import numpy as np
import polars as pl
import pytest

import signoise._core as core
from cases import CASES, Case
from signoise import reference


def assert_same(found: object, expected: object, case: Case, where: str = "") -> None:
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value, case, f"{where}[{key}]")
    elif isinstance(expected, tuple) or (isinstance(expected, list) and isinstance(found, list)):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for index, value in enumerate(expected):
            assert_same(found[index], value, case, f"{where}[{index}]")
    elif isinstance(found, core.Text):
        texts = pl.Series(expected, dtype=pl.String)
        assert pl.Series(found).to_list() == texts.to_list(), where
    else:
        left, right = np.asarray(found), np.asarray(expected)
        assert left.shape == right.shape, where
        if left.dtype.kind == "f":
            np.testing.assert_allclose(left, right, rtol=case.rtol, atol=case.atol, err_msg=where)
        else:
            np.testing.assert_array_equal(left, right, err_msg=where)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernel_equals_twin(case: Case, seed: int) -> None:
    arguments = case.make(np.random.default_rng(seed), 12)
    found = getattr(core, case.name)(*arguments, **case.options)
    expected = getattr(reference, case.name)(*arguments, **case.options)
    assert_same(found, expected, case)


@pytest.mark.parametrize("name", sorted({case.name for case in CASES}))
def test_same_signature(name: str) -> None:
    kernel, twin = inspect.signature(getattr(core, name)), inspect.signature(getattr(reference, name))
    assert list(kernel.parameters) == list(twin.parameters)
    assert [p.default for p in kernel.parameters.values()] == [p.default for p in twin.parameters.values()]


#: Functions that write or read files are no kernels; pyarrow and Polars are their oracles (test_store.py).
FILES = {"file_checksums", "write_part", "write_parts"}
#: The scan in parts; that of the whole is the oracle (test_partitions.py).
PARTS = {"plan_parquet", "map_parquet", "merge_parquet"}


def test_every_kernel_has_a_case() -> None:
    kernels = {name for name in dir(core) if inspect.isbuiltin(getattr(core, name))} - FILES - PARTS
    assert kernels == {case.name for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_bits_for_any_number_of_threads(case: Case) -> None:
    arguments = case.make(np.random.default_rng(7), 50)
    first, *others = (getattr(core, case.name)(*arguments, **case.options, threads=n) for n in (1, 2, 8))
    exact = Case(case.name, case.make, rtol=0.0, atol=0.0)
    for other in others:
        assert_same(other, first, exact)
