"""An installed signoise does its main jobs: kernels, verbs, readers, a store, threads, the command line."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import polars as pl

import signoise as sn
from signoise import _core

SIDES = {"small": "params = 150000000", "target": "params = 1000000000"}


def main() -> None:
    assert sn.__version__ == version("signoise")
    assert _core.BUILD_PROFILE == "release"
    scores = sn.example_scores()
    kernels = sn.snr(scores)
    twins = sn.reference.snr(scores)
    for name in ("signal", "noise", "snr"):
        assert (
            (kernels[name] - twins[name]).abs().fill_null(0) <= 1e-12 * twins[name].abs().fill_null(1)
        ).all()
    assert sn.decision_accuracy(scores, **SIDES)["decision_accuracy"].max() > 0.9
    with ThreadPoolExecutor(8) as pool:
        assert all(
            found.equals(kernels) for found in pool.map(lambda _: sn.snr(scores, threads=2), range(16))
        )
    with tempfile.TemporaryDirectory() as name:
        files(Path(name), kernels)
    print(
        f"{platform.python_implementation()} {platform.python_version()}: signoise {sn.__version__} does its jobs"
    )


def files(folder: Path, expected: pl.DataFrame) -> None:
    """Tables of each kind, instances streamed and in a store, and the command line on them."""
    scores = sn.example_scores()
    scores.write_parquet(folder / "scores.parquet")
    scores.write_csv(folder / "scores.csv")
    scores.write_ndjson(folder / "scores.jsonl")
    for path in ("scores.parquet", "scores.csv", "scores.jsonl"):
        assert sn.snr(folder / path).equals(expected), path
    instances, _ = sn.simulate(tasks=2, recipes=3, params=(1e8, 1e9), checkpoints=3, instances=50)
    instances.write_parquet(folder / "instances.parquet")
    sn.ingest(folder / "instances.parquet", folder / "store")
    store = sn.open_store(folder / "store")
    store.verify()
    assert sn.aggregate(store)["n"].sum() == sn.aggregate(folder / "instances.parquet")["n"].sum() > 0
    assert sn.bootstrap(store, n_resamples=50).height > 0
    command = [sys.executable, "-m", "signoise", "snr", str(folder / "scores.parquet"), "--json"]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    rows = (
        said if isinstance(said, list) else next(found for found in said.values() if isinstance(found, list))
    )
    assert [row["snr"] for row in rows] == expected["snr"].to_list()


if __name__ == "__main__":
    main()
