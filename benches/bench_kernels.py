"""Every kernel beside its NumPy twin at growing numbers of groups, on the inputs of `tests/cases.py`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import signoise._core as core
from measure import interleaved, markdown, setting
from signoise import reference

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from cases import CASES, Case
from test_twins import assert_same


def compare(case: Case, size: int, repeats: int) -> dict[str, str]:
    arguments = case.make(np.random.default_rng(0), size)
    kernel, twin = getattr(core, case.name), getattr(reference, case.name)
    assert_same(kernel(*arguments, **case.options), twin(*arguments, **case.options), case, str(case))
    jobs = {
        "kernel": lambda: kernel(*arguments, **case.options),
        "twin": lambda: twin(*arguments, **case.options),
    }
    times = interleaved(jobs, repeats)
    return {
        "kernel": str(case),
        "groups": f"{size:,}",
        "values": f"{max((a.size for a in arguments if isinstance(a, np.ndarray)), default=0):,}",
        "kernel ms": f"{times['kernel'].wall * 1e3:.3f}",
        "twin ms": f"{times['twin'].wall * 1e3:.3f}",
        "twin / kernel": f"{times['twin'].wall / times['kernel'].wall:.1f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000], help="numbers of groups")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="kernels whose name contains this")
    options = parser.parse_args()
    print(setting(options.repeats))
    chosen = [case for case in CASES if options.only in str(case)]
    print(markdown([compare(case, size, options.repeats) for case in chosen for size in options.sizes]))


if __name__ == "__main__":
    main()
