"""The engines of docs/scaling_out.md on Spark and Dask: `aggregate` and `bootstrap` give the bits of the local one.

Needs `pip install pyspark 'dask[distributed]'`, and Java.
"""

from __future__ import annotations

import os
import pickle
import re
import tempfile
from pathlib import Path
from typing import Any

import cloudpickle
import pyarrow

import signoise as sn
from bench_ray import equal
from signoise import _parquet_scan

ROOT = Path(__file__).resolve().parent.parent


def engines() -> dict[str, Any]:
    """The classes of the page, by name."""
    page = (ROOT / "docs" / "scaling_out.md").read_text()
    names: dict[str, Any] = {"cloudpickle": cloudpickle, "pickle": pickle, "pyarrow": pyarrow}
    for block in re.findall(r"^```py\n(class .*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(block, names)
    return names


def check(name: str, engine: Any, folder: Path) -> None:
    by = ["run", "step", "task", "metric"]
    equal(sn.aggregate(folder, by=by, engine=engine), sn.aggregate(folder, by=by))
    equal(sn.bootstrap(folder, n_resamples=200, engine=engine), sn.bootstrap(folder, n_resamples=200))
    print(f"{name}: the same bits")


def main() -> None:
    found = engines()
    _parquet_scan._FEWEST = 1000
    os.environ["PYTHONPATH"] = str(Path(sn.__file__).parents[1])
    with tempfile.TemporaryDirectory() as path:
        scores, _ = sn.simulate(tasks=3, recipes=4, params=(1e9,), checkpoints=3, instances=200)
        # Tables with weights are not added up elsewhere.
        rows = scores.drop("weight").sample(fraction=1, shuffle=True, seed=1)
        for at in range(4):
            rows.gather_every(4, at).write_parquet(Path(path) / f"{at}.parquet", row_group_size=500)

        from distributed import Client

        with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0") as client:
            check("Dask", found["Dask"](client), Path(path))

        from pyspark.sql import SparkSession

        session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
        check("Spark", found["Spark"](session), Path(path))
        session.stop()


if __name__ == "__main__":
    main()
