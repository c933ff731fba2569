"""`open_store`: a store as tables, matrices and moments. Nothing is read before it is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._errors import SchemaError, StoreError
from .._kernels import kernels
from .._options import check_threads
from .._schema import COLUMNS, KEY, SCORE_IDENTITY, did_you_mean
from . import _manifest as manifests
from ._moments import Plan, labelled_moments, labels_of
from ._parts import Ids, Mask, PartFile, SlotKey, key_of, overlaid
from ._trust import check_size
from ._writer import CHECKPOINT_SCHEMA, INSTANCE_SCHEMA, RESULT, RESULT_SCHEMA, UNIT, read_pieces, unit_key

#: Cells that one step of `scan` lays out.
_CELLS = 1 << 20


class ScoreStore:
    """A score store: each task as a dense checkpoint x instance matrix a metric. Every verb takes one.

    A store is what it was when it was opened; open it again to see what was ingested since.

    Attributes
    ----------
    path : Path
    tasks : list of str
    checkpoints : DataFrame
        One row a checkpoint: ``checkpoint`` (its number), run, revision, step, tokens, flops, params, recipe, seed and
        whatever else the sources said of it.
    units : DataFrame
        One row a list of instances: ``unit`` (its number), task, subtask, config, ``n_instances, n_checkpoints,
        n_scores, metrics``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._open(Path(path), manifests.load(Path(path)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same files, and sees no more of the store than this one."""
        return _opened, (self.path.absolute(), self._manifest)

    def _open(self, path: Path, manifest: manifests.Manifest) -> None:
        self.path = path
        self._manifest = manifest
        self._files = [
            [PartFile(os.path.join(self.path, part["file"]), part) for part in unit["parts"]]
            for unit in self._manifest["units"]
        ]
        stored = read_pieces(self.path, self._manifest["checkpoints"], CHECKPOINT_SCHEMA)
        self.checkpoints: pl.DataFrame = stored.with_row_index("checkpoint")
        names = [unit_key(unit) for unit in self._manifest["units"]]
        self.unit_names: pl.DataFrame = pl.DataFrame(
            names, schema={name: COLUMNS[name] for name in UNIT}, orient="row"
        )
        self._plans: dict[tuple[str, ...] | None, Plan] = {}
        self._labels: tuple[list[tuple[int, Ids]], pl.DataFrame] = [], labels_of(self, [], [])

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, sorted."""
        return self.unit_names["task"].unique().sort().to_list()

    @property
    def sources(self) -> pl.DataFrame:
        """Files that were ingested: ``source, bytes, xxh3, selection``."""
        schema = {"source": pl.String, "bytes": pl.Int64, "xxh3": pl.String, "selection": pl.String}
        return pl.DataFrame(self._manifest["sources"], schema=schema)

    @property
    def results(self) -> pl.DataFrame:
        """Result rows that came beside the instances: the tools' own aggregates."""
        table = read_pieces(self.path, self._manifest["results"], RESULT_SCHEMA)
        key = [name for name in KEY if name in RESULT]
        return table.unique(subset=key, keep="last", maintain_order=True)

    @cached_property
    def units(self) -> pl.DataFrame:
        """One row a list of instances; see the class."""
        rows: list[dict[str, Any]] = []
        for at, unit in enumerate(self._manifest["units"]):
            slots = [slot for part in unit["parts"] for slot in part["slots"]]
            rows.append(
                {
                    "unit": at,
                    "task": unit["task"],
                    "subtask": unit["subtask"],
                    "config": unit["config"],
                    "n_instances": self.n_instances(at),
                    "n_checkpoints": len(
                        np.unique(np.concatenate([file.checkpoints for file in self._files[at]]))
                    ),
                    "n_scores": sum(slot["n"] for slot in slots),
                    "metrics": sorted({slot["metric"] for slot in slots}),
                }
            )
        schema = {
            "unit": pl.UInt32(),
            **{name: COLUMNS[name] for name in UNIT},
            "n_instances": pl.Int64(),
            "n_checkpoints": pl.Int64(),
            "n_scores": pl.Int64(),
            "metrics": pl.List(pl.String()),
        }
        return pl.DataFrame(rows, schema=schema)

    def __repr__(self) -> str:
        size = sum(file["bytes"] for file in manifests.files_of(self._manifest))
        counts = [
            f"{self.checkpoints.height:,} checkpoints of {self.checkpoints['run'].n_unique():,} runs",
            f"{len(self.tasks):,} tasks in {self.units.height:,} units",
            f"{int(self.units['n_instances'].sum()):,} instances",
            f"{int(self.units['n_scores'].sum()):,} scores",
            _size(size),
        ]
        return f"ScoreStore({str(self.path)!r}: {', '.join(counts)})"

    def n_instances(self, unit: int) -> int:
        """Number of instances of a unit.

        Raises
        ------
        StoreError
            If the files that list them are not there, or not as large as the manifest says: memory is laid out by it.
        """
        pieces = self._manifest["units"][unit]["instances"]
        for piece in pieces:
            check_size(self.path, piece)
        return sum(piece["rows"] for piece in pieces)

    def parts(self, unit: int) -> list[PartFile]:
        """Parts of a unit, oldest first."""
        return self._files[unit]

    def unit(self, task: str, subtask: str | None = None, config: str | None = None) -> int:
        """Number of the unit with these names; subtask and config may be left out where there is only one.

        Raises
        ------
        SchemaError
            If there is none, or several.
        """
        found = self.unit_names.with_row_index("unit").filter(task=task)
        if not found.height:
            raise SchemaError(f"the store has no task {task!r}{did_you_mean(task, self.tasks)}")
        for name, wanted in (("subtask", subtask), ("config", config)):
            if wanted is not None:
                values = found[name].drop_nulls().unique().sort().to_list()
                found = found.filter(pl.col(name) == wanted)
                if not found.height:
                    raise SchemaError(f"task {task!r} has no {name} {wanted!r}{did_you_mean(wanted, values)}")
        if found.height > 1:
            exact = found
            for name, wanted in (("subtask", subtask), ("config", config)):
                exact = exact.filter(pl.col(name).eq_missing(wanted))
            if exact.height != 1:
                names = found.select("subtask", "config").head(3).rows(named=True)
                raise SchemaError(f"task {task!r} has {found.height} units, e.g. {names}; say which one")
            found = exact
        return int(found["unit"][0])

    def instances(
        self, task: str | int, subtask: str | None = None, config: str | None = None
    ) -> pl.DataFrame:
        """Instances of a unit (its number or its names): ``instance_id, cluster``, a row for each matrix column."""
        at = task if isinstance(task, int) else self.unit(task, subtask, config)
        return read_pieces(self.path, self._manifest["units"][at]["instances"], INSTANCE_SCHEMA)

    def matrix(
        self,
        task: str | int,
        metric: str,
        *,
        subtask: str | None = None,
        config: str | None = None,
        filter: str | None = None,  # noqa: A002 (the column's name)
        repeat: int | None = None,
        weights: bool = False,
    ) -> tuple[NDArray[Any], Mask | None, Ids]:
        """Scores of one unit and metric as a matrix.

        Parameters
        ----------
        task, subtask, config
            The unit: its number, or its names as in `unit`.
        metric, filter, repeat
            The slot; `filter` and `repeat` may be left out where there is only one.
        weights
            The weights in place of the scores (NaN where none is given).

        Returns
        -------
        values : array, shape (n_checkpoints, n_instances)
            A read-only view of the file where the scores are floats and lie in one part; else laid out in memory.
            What is not there is 0.
        mask : bool array of the same shape, or None
            Which cells have a score; None: all.
        checkpoints : uint32 array, shape (n_checkpoints,)
            Number of each row's checkpoint.

        Raises
        ------
        SchemaError
            If there is no such unit or slot, or several.
        """
        at = task if isinstance(task, int) else self.unit(task, subtask, config)
        key = self._slot(at, metric, filter, repeat)
        held = [
            (file, slot) for file in self._files[at] for slot in file.part["slots"] if key_of(slot) == key
        ]
        width = self.n_instances(at)
        file, slot = held[0]
        if len(held) == 1 and file.width == width and not weights and slot["scores"]["kind"] != "bit":
            full = slot["scores"]["validity"] is None
            mask = None if full else file.there(slot["scores"], np.arange(file.rows))
            return file.matrix(slot["scores"]), mask, file.checkpoints
        checkpoints = np.unique(np.concatenate([file.checkpoints for file, _ in held]))
        cells = overlaid(held, checkpoints, width)
        values = cells.values
        if weights:
            values = np.full(values.shape, np.nan) if cells.weights is None else cells.weights
        return values, None if cells.there.all() else cells.there, checkpoints

    def _slot(self, unit: int, metric: str, filter_: str | None, repeat: int | None) -> SlotKey:
        keys = list(dict.fromkeys(key_of(slot) for file in self._files[unit] for slot in file.part["slots"]))
        metrics = sorted({key[0] for key in keys})
        if metric not in metrics:
            raise SchemaError(
                f"this unit has no metric {metric!r}{did_you_mean(metric, metrics)} (it has {', '.join(metrics)})"
            )
        found = [key for key in keys if key[0] == metric]
        for place, wanted in ((1, filter_), (2, repeat)):
            same = [key for key in found if key[place] == wanted]
            if wanted is not None or len({key[place] for key in found}) > 1:
                found = same
        if len(found) != 1:
            said = ", ".join(f"filter={f!r} repeat={r!r}" for m, f, r in keys if m == metric)
            raise SchemaError(f"{metric!r} needs its filter and repeat named; this unit has {said}")
        return found[0]

    def moments(self, *, metrics: Sequence[str] | None = None, threads: int | None = None) -> pl.DataFrame:
        """Moments over instances of every score, as `aggregate` defines them.

        Parameters
        ----------
        metrics
            Only these.
        threads
            As in `snr`.

        Returns
        -------
        DataFrame
            One row a checkpoint, unit, metric and filter: the checkpoint's columns, ``task, subtask, config, metric,
            filter, n, n_missing, n_nan, mean, variance, min, max, weight`` (the denominator of a ratio, else 1).
        """
        check_threads(threads)
        return labelled_moments(self, metrics, threads).drop("ratio")

    def moments_plan(self, metrics: Sequence[str] | None) -> Plan:
        """What the moments of these metrics are made of; kept."""
        key = None if metrics is None else tuple(metrics)
        if key not in self._plans:
            self._plans[key] = Plan(self, metrics)
        return self._plans[key]

    def moments_labels(self, units: Sequence[int], checkpoints: Sequence[Ids]) -> pl.DataFrame:
        """Labels of runs of rows. Those of the last call are kept: metrics mostly have the same rows."""
        rows = list(zip(units, checkpoints, strict=True))
        known, labels = self._labels
        if len(known) != len(rows) or any(
            a != b or ids is not others for (a, ids), (b, others) in zip(known, rows, strict=True)
        ):
            labels = labels_of(self, units, checkpoints)
            self._labels = rows, labels
        return labels

    def self_check(self, *, threads: int | None = None) -> pl.DataFrame:
        """The tools' own aggregates beside ours, where the store holds both.

        Returns
        -------
        DataFrame
            One row a result: its key, ``value`` (theirs), ``mean, n`` (ours), ``equal``: whether they differ by at
            most 1e-9.
        """
        check_threads(threads)
        ours = self.moments(threads=threads)
        # A run and step is a checkpoint; where both sides know revision or seed as well these must agree.
        key, finer = ["run", "step", *SCORE_IDENTITY], ["revision", "seed"]
        both = self.results.select(*key, *finer, "value").join(
            ours.select(*key, *finer, "mean", "n"),
            on=key,
            how="inner",
            nulls_equal=True,
            maintain_order="left",
        )
        for name in finer:
            both = both.filter(pl.col(name).eq(pl.col(f"{name}_right")).fill_null(True))
        both = both.drop(f"{name}_right" for name in finer)
        equal = ((pl.col("value") - pl.col("mean")).abs() <= 1e-9).fill_null(
            pl.col("value").is_null() & pl.col("mean").is_null()
        )
        return both.with_columns(equal.alias("equal"))

    def scan(self) -> pl.LazyFrame:
        """All scores as instance rows of the score table, some at a time; result rows are in `results`."""
        from polars.io.plugins import register_io_source

        schema = self._row_schema()

        def rows(
            with_columns: list[str] | None,
            predicate: pl.Expr | None,
            n_rows: int | None,
            batch_size: int | None,
        ) -> Iterator[pl.DataFrame]:
            del batch_size
            left = n_rows
            for frame in self._rows(schema):
                chosen = frame if predicate is None else frame.filter(predicate)
                chosen = chosen if with_columns is None else chosen.select(with_columns)
                if left is not None:
                    chosen = chosen.head(left)
                    left -= chosen.height
                yield chosen
                if left == 0:
                    return

        return register_io_source(rows, schema=schema)

    def _row_schema(self) -> pl.Schema:
        others = {
            name: dtype
            for name, dtype in self.checkpoints.schema.items()
            if name not in COLUMNS and name != "checkpoint"
        }
        ours = {name: dtype for name, dtype in COLUMNS.items() if name not in ("stderr", "n", "source")}
        return pl.Schema({**ours, **others})

    def _rows(self, schema: pl.Schema) -> Iterator[pl.DataFrame]:
        for at, unit in enumerate(self._manifest["units"]):
            instances = self.instances(at)
            keys = dict.fromkeys(key_of(slot) for file in self._files[at] for slot in file.part["slots"])
            for key in keys:
                held = [
                    (file, slot)
                    for file in self._files[at]
                    for slot in file.part["slots"]
                    if key_of(slot) == key
                ]
                ids = np.unique(np.concatenate([file.checkpoints for file, _ in held]))
                step = max(1, _CELLS // instances.height)
                for start in range(0, len(ids), step):
                    chosen = ids[start : start + step]
                    cells = overlaid(held, chosen, instances.height)
                    row, column = np.nonzero(cells.there | cells.not_scored)
                    if not len(row):
                        continue
                    value = pl.Series(cells.values[row, column])
                    weight = pl.Series(np.ones(len(row)))
                    if cells.weights is not None:
                        weight = pl.Series(cells.weights[row, column]).fill_nan(None)
                    metric, filter_, repeat = key
                    yield (
                        self.checkpoints.drop("checkpoint")[chosen[row]]
                        .with_columns(
                            *(pl.lit(unit[name]).alias(name) for name in ("task", "subtask", "config")),
                            pl.lit(metric).alias("metric"),
                            pl.lit(filter_).alias("filter"),
                            pl.lit(repeat).alias("repeat"),
                            *instances[column],
                            pl.when(pl.Series(cells.there[row, column])).then(value).alias("value"),
                            weight.alias("weight"),
                        )
                        .select(pl.col(name).cast(dtype) for name, dtype in schema.items())
                    )

    def verify(self, *, threads: int | None = None) -> None:
        """Check every file of the store against its checksum (XXH3).

        Raises
        ------
        StoreError
            Names every file that is missing or not what was written.
        """
        check_threads(threads)
        files = manifests.files_of(self._manifest)
        bad: list[str] = []
        whole = []
        for file in files:
            path = self.path / file["file"]
            if not path.is_file():
                bad.append(f"{file['file']} is missing")
            elif (size := path.stat().st_size) != file["bytes"]:
                bad.append(f"{file['file']} has {size} bytes instead of {file['bytes']}")
            else:
                whole.append(file)
        paths = [str(self.path / file["file"]) for file in whole]
        found = kernels().file_checksums(paths, threads=threads)
        bad += [
            f"{file['file']} is not what was written (its checksum is {checksum} instead of {file['xxh3']})"
            for file, (_, checksum) in zip(whole, found, strict=True)
            if checksum != file["xxh3"]
        ]
        if bad:
            raise StoreError(
                f"{self.path}: {len(bad)} of {len(files)} files are damaged: {'; '.join(sorted(bad))}. "
                "Ingest the sources into a new store"
            )


def _opened(path: Path, manifest: manifests.Manifest) -> ScoreStore:
    store = ScoreStore.__new__(ScoreStore)
    store._open(path, manifest)
    return store


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.3g} {unit}"
        size /= 1000
    return ""


def open_store(path: str | os.PathLike[str]) -> ScoreStore:
    """Open a score store that `ingest` made.

    Parameters
    ----------
    path
        Directory of the store.

    Returns
    -------
    ScoreStore
        ``.tasks, .checkpoints, .units, .instances(task), .matrix(task, metric), .moments(), .scan(), .results,
        .verify()``; every verb takes it in place of a score table.

    Raises
    ------
    StoreError
        If there is no store, if it is damaged, or written by a newer version.

    Examples
    --------
    >>> import os, tempfile
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=2, params=(150_000_000,), checkpoints=2, instances=30)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "store")
    ...     done = sn.ingest(scores, path)
    ...     store = sn.open_store(path)
    ...     values, mask, checkpoints = store.matrix(store.tasks[0], "acc")
    ...     values.shape, mask is None
    ((4, 30), True)
    """
    return ScoreStore(path)


__all__ = ["ScoreStore", "open_store"]
