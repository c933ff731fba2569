"""Writing to a store: matrices become parts, and a commit makes them visible all at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import drop_exact_duplicates, settle_duplicates
from .._errors import DuplicateKeyError, ReadError, ShapeError, StoreError
from .._kernels import kernels
from .._options import check_choice
from .._schema import COLUMNS, KEY
from .._whole_file import system_error
from . import _manifest as manifests
from ._files import (
    MANIFEST,
    TEMPORARY,
    UNITS,
    locked,
    looks_free,
    not_written,
    numbered,
    publish,
    remove_leftovers,
    rename,
    safe_name,
    sync_file,
    sync_folder,
)
from ._manifest import Column, Manifest, Part, Piece, Slot, SourceFile, Unit
from ._parts import Held, Ids, Mask, PartFile, SlotKey, key_of, overlaid
from ._trust import check_links

Dtype: TypeAlias = Literal["auto", "float32", "float64"]
Settle: TypeAlias = Literal["raise", "first", "last"]
UnitKey: TypeAlias = "tuple[str, str | None, str | None]"
"""Task, subtask, config."""

CHECKPOINT: tuple[str, ...] = ("run", "revision", "step", "tokens", "flops", "params", "recipe", "seed")
"""Columns that make a checkpoint; two that agree on all of them are one."""
UNIT: tuple[str, ...] = ("task", "subtask", "config")
_SYNCS = 8
"""Files and folders that are synced at a time."""

RESULT: tuple[str, ...] = tuple(c for c in COLUMNS if c not in ("instance_id", "repeat", "cluster"))


@dataclass
class Added:
    """What came to a store."""

    scores: int = 0
    duplicates: int = 0
    """Cells that the store held already with the same value."""
    settled: int = 0
    """Cells that it held with another value, settled as asked."""
    results: int = 0
    checkpoints: int = 0
    units: int = 0
    instances: int = 0


@dataclass(frozen=True)
class Matrix:
    """Scores of some checkpoints on some instances of a unit, as `StoreWriter.add_matrix` takes them."""

    unit: UnitKey
    checkpoints: Ids
    instances: pl.Series | Sequence[str]
    slots: Mapping[SlotKey, NDArray[Any]]
    there: Mapping[SlotKey, Mask] | None = None
    not_scored: Mapping[SlotKey, Mask] | None = None
    weights: Mapping[SlotKey, NDArray[Any]] | None = None
    clusters: pl.Series | Sequence[str | None] | None = None

    def count(self) -> int:
        """Scores in it."""
        there = self.there or {}
        return sum(
            int(np.count_nonzero(there[key])) if key in there else scores.size
            for key, scores in self.slots.items()
        )


@dataclass
class _UnitState:
    """A unit with what this writer needs to know of it."""

    entry: Unit
    ids: pl.Series
    parts: list[PartFile] = field(default_factory=list)
    new_parts: list[Part] = field(default_factory=list)
    new_instances: list[pl.DataFrame] = field(default_factory=list)

    def held(self, key: SlotKey, checkpoints: Ids) -> list[Held]:
        """Parts that hold a slot of any of these checkpoints, oldest first."""
        found: list[Held] = []
        first, last = int(checkpoints.min()), int(checkpoints.max())
        for file in self.parts:
            if file.bounds[0] > last or file.bounds[1] < first:
                continue
            slots = [slot for slot in file.part["slots"] if key_of(slot) == key]
            if slots and np.isin(checkpoints, file.checkpoints).any():
                found.append((file, slots[0]))
        return found


class StoreWriter:
    """The one writer of a store; a context that holds its lock.

    Parameters
    ----------
    path
        Directory of the store; made if it does not exist.
    dtype : {"auto", "float32", "float64"}
        What scores that are not all 0 or 1 are kept in. ``auto`` takes float32 where no score of a part changes by it.
    duplicates : {"raise", "first", "last"}
        What happens to a cell that the store holds with another value.

    Raises
    ------
    StoreError
        If another process writes to it, if the directory holds something else, or the manifest is damaged.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        dtype: Dtype = "auto",
        duplicates: Settle = "raise",
        threads: int | None = None,
    ) -> None:
        check_choice("dtype", dtype, ("auto", "float32", "float64"))
        check_choice("duplicates", duplicates, ("raise", "first", "last"))
        self.path = Path(path)
        self.added = Added()
        self._added_before = Added()
        self._dtype: Dtype = dtype
        self.duplicates: Settle = duplicates
        self._threads = threads
        self._exit = ExitStack()

    def __enter__(self) -> StoreWriter:
        try:
            self._open()
        except BaseException:
            self._exit.close()
            raise
        return self

    def _open(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path} is a file; a store is a directory")
        fresh = not (self.path / MANIFEST).exists()
        if fresh and self.path.exists() and not looks_free(self.path):
            raise StoreError(
                f"{self.path} is a directory with other files in it; give a new or an empty one, or a store"
            )
        if not self.path.exists():
            self.path.mkdir(parents=True)
            sync_folder(self.path.parent)
        check_links(self.path)
        self._exit.enter_context(locked(self.path))
        fresh = not (self.path / MANIFEST).exists()  # another may have made it in between
        self.manifest: Manifest = manifests.empty() if fresh else manifests.load(self.path)
        self._remove_leftovers()
        self._checkpoints = read_pieces(self.path, self.manifest["checkpoints"], CHECKPOINT_SCHEMA)
        self._stored_checkpoints = self._checkpoints.height
        self._results = read_pieces(self.path, self.manifest["results"], RESULT_SCHEMA)
        self._new_results: list[pl.DataFrame] = []
        self._units = self._committed_units()
        self._states: dict[UnitKey, _UnitState] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:  # what was not committed is nothing
                self._remove_leftovers()
        finally:
            self._exit.close()

    def _remove_leftovers(self) -> int:
        known = {file["file"] for file in manifests.files_of(self.manifest)}
        return remove_leftovers(self.path, known)

    def holds(self, source: SourceFile) -> bool:
        """Whether a source was ingested before, with the same content and the same selection."""
        return source in self.manifest["sources"]

    def changed(self, source: SourceFile) -> bool:
        """Whether a source of this name was ingested before with other content."""
        return any(
            old["source"] == source["source"]
            and (old["bytes"], old["xxh3"]) != (source["bytes"], source["xxh3"])
            for old in self.manifest["sources"]
        )

    def checkpoint_ids(self, checkpoints: pl.DataFrame) -> Ids:
        """Number of each checkpoint (a row); those that are new are numbered in this order.

        Columns beyond ``CHECKPOINT`` are kept beside a new checkpoint.
        """
        given = checkpoints.with_columns(
            *(
                (pl.col(name) if name in checkpoints.columns else pl.lit(None)).cast(dtype).alias(name)
                for name, dtype in CHECKPOINT_SCHEMA.items()
            )
        )
        fresh = given.unique(subset=CHECKPOINT, keep="first", maintain_order=True).join(
            self._checkpoints, on=CHECKPOINT, how="anti", nulls_equal=True, maintain_order="left"
        )
        if fresh.height:
            extra = [name for name in fresh.columns if name not in CHECKPOINT and name != "checkpoint"]
            fresh = fresh.select(*CHECKPOINT, *extra)
            self._checkpoints = pl.concat([self._checkpoints, fresh], how="diagonal_relaxed")
            self.added.checkpoints += fresh.height
        numbered_ = self._checkpoints.select(*CHECKPOINT).with_row_index("__id")
        found = given.select(*CHECKPOINT).join(
            numbered_, on=CHECKPOINT, how="left", nulls_equal=True, maintain_order="left"
        )
        return found["__id"].to_numpy().astype(np.uint32)

    def add_matrix(
        self,
        unit: UnitKey,
        checkpoints: Ids,
        instances: pl.Series | Sequence[str],
        slots: Mapping[SlotKey, NDArray[Any]],
        *,
        there: Mapping[SlotKey, Mask] | None = None,
        not_scored: Mapping[SlotKey, Mask] | None = None,
        weights: Mapping[SlotKey, NDArray[Any]] | None = None,
        clusters: pl.Series | Sequence[str | None] | None = None,
    ) -> None:
        """Write the scores of some checkpoints on some instances of a unit; nothing is visible before `commit`.

        Parameters
        ----------
        unit : (task, subtask, config)
        checkpoints : uint32 array, shape (n_checkpoints,)
            From `checkpoint_ids`, each once.
        instances
            Instance ids, each once; those that are new are appended to the unit in this order.
        slots
            ``{(metric, filter, repeat): scores}``: bool, float32 or float64 of shape (n_checkpoints, n_instances).
        there
            Cells that have a score; a slot that is absent here has all.
        not_scored
            Cells that are in the source without a score.
        weights
            Denominators of ratio metrics, of the same shape; NaN where none is given.
        clusters
            What makes instances dependent, one entry an instance.
        """
        self.add_matrices([Matrix(unit, checkpoints, instances, slots, there, not_scored, weights, clusters)])

    def add_matrices(self, matrices: Sequence[Matrix]) -> None:
        """Write matrices of different units, each as `add_matrix` does, on all threads at once."""
        if len({matrix.unit for matrix in matrices}) < len(matrices):
            raise ShapeError("a unit is given twice; give each once")
        ready = [one for one in map(self._prepared, matrices) if one is not None]
        if ready:
            self._write(ready)

    def mark(self) -> tuple[pl.DataFrame, int]:
        """The checkpoints so far, for `reset` and `commit`."""
        return self._checkpoints, self.added.checkpoints

    def reset(self, mark: tuple[pl.DataFrame, int]) -> None:
        """Forget what was added since the last commit, and checkpoints that were numbered since the mark."""
        for name, value in vars(self._added_before).items():
            setattr(self.added, name, value)
        self.forget_checkpoints(mark)
        self._units = self._committed_units()
        self._states = {}
        self._remove_leftovers()

    def forget_checkpoints(self, mark: tuple[pl.DataFrame, int]) -> None:
        """Forget checkpoints that were numbered since the mark."""
        self._checkpoints, self.added.checkpoints = mark

    def _committed_units(self) -> dict[UnitKey, int]:
        return {unit_key(unit): at for at, unit in enumerate(self.manifest["units"])}

    def _prepared(self, matrix: Matrix) -> _Ready | None:
        """What of a matrix is new to the store."""
        unit, checkpoints, slots = matrix.unit, matrix.checkpoints, matrix.slots
        ids = pl.Series("instance_id", matrix.instances, dtype=pl.String)
        shape = (len(checkpoints), len(ids))
        for scores in slots.values():
            if scores.shape != shape:
                raise ShapeError(f"scores have shape {scores.shape}, expected {shape}")
        given = {
            key: _Given(
                scores,
                None if matrix.there is None else matrix.there.get(key),
                None if matrix.not_scored is None else matrix.not_scored.get(key),
                None if matrix.weights is None else matrix.weights.get(key),
            )
            for key, scores in slots.items()
        }
        given = {key: slot for key, slot in given.items() if slot.present_rows().any()}
        if not given:
            return None
        if len(np.unique(checkpoints)) != len(checkpoints):
            raise ShapeError("a checkpoint is given twice; give each once")
        state = self._state(unit)
        columns = self._columns(state, ids, matrix.clusters)
        given = {key: slot.widened(columns, len(state.ids)) for key, slot in given.items()}
        for key, slot in given.items():
            if held := state.held(key, checkpoints):
                self._settle(state, key, slot, checkpoints, held)
        given = {key: slot for key, slot in given.items() if slot.present_rows().any()}
        if not given:
            return None
        rows = np.logical_or.reduce([slot.present_rows() for slot in given.values()])
        if not rows.all():
            checkpoints = checkpoints[rows]
            given = {key: slot.rows(rows) for key, slot in given.items()}
        return _Ready(state, np.ascontiguousarray(checkpoints, dtype=np.uint32), given)

    def _state(self, unit: UnitKey) -> _UnitState:
        if unit in self._states:
            return self._states[unit]
        if unit in self._units:
            entry = self.manifest["units"][self._units[unit]]
            ids = read_pieces(self.path, entry["instances"], INSTANCE_SCHEMA)["instance_id"]
            state = _UnitState(
                entry, ids, [PartFile(self.path / part["file"], part) for part in entry["parts"]]
            )
        else:
            number = len(self._units)
            task, subtask, config = unit
            folder = f"{UNITS}/{number}-{safe_name(task, subtask)}"
            shutil.rmtree(self.path / folder, ignore_errors=True)
            (self.path / folder).mkdir(parents=True)
            entry = Unit(task=task, subtask=subtask, config=config, folder=folder, instances=[], parts=[])
            state = _UnitState(entry, pl.Series("instance_id", [], dtype=pl.String))
            self._units[unit] = number
            self.added.units += 1
        self._states[unit] = state
        return state

    def _columns(
        self, state: _UnitState, ids: pl.Series, clusters: pl.Series | Sequence[str | None] | None
    ) -> NDArray[np.intp] | None:
        """Column of each given instance, after new ones are appended; None where they are the columns in order."""
        if ids.equals(state.ids):
            return None
        known = pl.DataFrame({"instance_id": state.ids}).with_row_index("__at")
        given = pl.DataFrame({"instance_id": ids}).with_columns(
            pl.Series("cluster", [None] * len(ids) if clusters is None else clusters, dtype=pl.String)
        )
        if given["instance_id"].is_duplicated().any() or given["instance_id"].null_count():
            raise ShapeError(f"instance ids of {state.entry['task']!r} must be given once each, without null")
        fresh = given.join(known, on="instance_id", how="anti", maintain_order="left")
        if fresh.height:
            state.ids = pl.concat([state.ids, fresh["instance_id"]])
            state.new_instances.append(fresh)
            self.added.instances += fresh.height
            known = pl.DataFrame({"instance_id": state.ids}).with_row_index("__at")
        if ids.equals(state.ids):
            return None
        found = given.join(known, on="instance_id", how="left", maintain_order="left")["__at"]
        return found.to_numpy().astype(np.intp)

    def _settle(
        self, state: _UnitState, key: SlotKey, slot: _Given, checkpoints: Ids, held: list[Held]
    ) -> None:
        """Take out of `slot` what the store holds already."""
        old = overlaid(held, checkpoints, slot.values.shape[1])
        both = (old.there | old.not_scored) & slot.present()
        if not both.any():
            return
        values = slot.values.astype(np.float64)
        if self._dtype == "float32":  # it was rounded when it was stored
            single = np.all([file_slot["scores"]["kind"] == "float32" for _, file_slot in held])
            values = slot.values.astype(np.float32).astype(np.float64) if single else values
        new_there = slot.cells_there()
        same = np.where(
            old.there & new_there,
            (old.values == values) | (np.isnan(old.values) & np.isnan(values)),
            old.there == new_there,
        )
        conflict = both & ~same
        if conflict.any() and self.duplicates == "raise":
            raise DuplicateKeyError(self._described(state, key, checkpoints, conflict, old.values, values))
        self.added.settled += int(conflict.sum())
        self.added.duplicates += int((both & same).sum())
        slot.remove(both & same if self.duplicates == "last" else both)

    def _described(
        self,
        state: _UnitState,
        key: SlotKey,
        checkpoints: Ids,
        conflict: Mask,
        old: NDArray[np.float64],
        new: NDArray[np.float64],
    ) -> str:
        row, column = (int(x) for x in np.argwhere(conflict)[0])
        checkpoint = self._checkpoints.select(*CHECKPOINT).row(int(checkpoints[row]), named=True)
        label = {
            **checkpoint,
            **dict(zip(UNIT, unit_key(state.entry), strict=True)),
            **dict(zip(("metric", "filter", "repeat"), key, strict=True)),
            "instance_id": state.ids[column],
        }
        named = ", ".join(f"{name}={value}" for name, value in label.items() if value is not None)
        count = int(conflict.sum())
        return (
            f"{count} scores differ from those in the store {self.path}: {named} is {old[row, column]:.6g} there and "
            f"{new[row, column]:.6g} now{f'; and {count - 1} more' if count > 1 else ''}. Ingest what changed into a "
            'new store, or choose with duplicates="first" (the store\'s) or "last"'
        )

    def _write(self, ready: Sequence[_Ready]) -> None:
        planned = [_Planned(one, self._dtype) for one in ready]
        files = [f"{one.state.entry['folder']}/{numbered('part', len(one.state.parts))}" for one in ready]
        paths = [self.path / (file + TEMPORARY) for file in files]
        try:
            written = kernels().write_parts(
                [
                    (str(path), one.checkpoints, len(one.state.ids), plan.columns)
                    for path, one, plan in zip(paths, ready, planned, strict=True)
                ],
                threads=self._threads,
            )
        except ReadError as error:  # no space, no permission
            raise StoreError(str(error)) from None
        for path, file, one, plan, found in zip(paths, files, ready, planned, written, strict=True):
            part = plan.part(file, one, found)
            self.added.scores += sum(slot["n"] for slot in part["slots"])
            one.state.parts.append(PartFile(path, part))
            one.state.parts[-1].bounds = int(one.checkpoints.min()), int(one.checkpoints.max())
            one.state.new_parts.append(part)

    def add_results(self, rows: pl.DataFrame) -> None:
        """Keep result rows: a tool's own aggregates, beside the instances they are of."""
        new = rows.select(
            (pl.col(name) if name in rows.columns else pl.lit(None)).cast(COLUMNS[name]).alias(name)
            for name in RESULT
        )
        key = [name for name in KEY if name in RESULT]
        new, _ = settle_duplicates(new.sort(*key, "value", nulls_last=False), self.duplicates)
        fresh = new.join(
            self._results, on=[*key, "value"], how="anti", nulls_equal=True, maintain_order="left"
        )
        self.added.duplicates += new.height - fresh.height
        differing = fresh.join(self._results, on=key, how="semi", nulls_equal=True, maintain_order="left")
        if differing.height and self.duplicates == "raise":
            settle_duplicates(
                drop_exact_duplicates(pl.concat([self._results, fresh]))[0], "raise"
            )  # says which
        self.added.settled += differing.height
        if self.duplicates == "first":
            fresh = fresh.join(self._results, on=key, how="anti", nulls_equal=True, maintain_order="left")
        if fresh.height:
            self._results = pl.concat([self._results, fresh])
            self._new_results.append(fresh)
            self.added.results += fresh.height

    def commit(
        self, sources: Iterable[SourceFile] = (), *, mark: tuple[pl.DataFrame, int] | None = None
    ) -> bool:
        """Make everything added so far visible, all at once. False where there was nothing to make visible.

        Parameters
        ----------
        sources
            The files all of whose scores are in the store now.
        mark
            Leave checkpoints that were numbered since to a later commit.
        """
        listed = [source for source in sources if source not in self.manifest["sources"]]
        states = [state for state in self._states.values() if state.new_parts]
        checkpoints = self._checkpoints if mark is None else mark[0]
        new_checkpoints = checkpoints.slice(self._stored_checkpoints)
        self._added_before = replace(self.added)
        if not (listed or states or self._new_results or new_checkpoints.height):
            return False
        manifest = self.manifest
        names: list[str] = []
        if new_checkpoints.height:
            filled = [
                c
                for c in new_checkpoints.columns
                if c in CHECKPOINT or new_checkpoints[c].null_count() < new_checkpoints.height
            ]
            name = numbered("checkpoints", len(manifest["checkpoints"]))
            manifest["checkpoints"].append(self._piece(name, new_checkpoints.select(filled)))
            names.append(name)
        if self._new_results:
            name = numbered("results", len(manifest["results"]))
            manifest["results"].append(self._piece(name, pl.concat(self._new_results)))
            names.append(name)
        # Disks sync many files at once nearly as fast as one.
        with ThreadPoolExecutor(_SYNCS) as pool:
            parts = [self.path / (part["file"] + TEMPORARY) for state in states for part in state.new_parts]
            for _ in pool.map(sync_file, parts):
                pass
            for state, piece in zip(states, pool.map(self._new_instances, states), strict=True):
                self._publish_unit(state, piece)
            for _ in pool.map(sync_folder, [self.path / state.entry["folder"] for state in states]):
                pass
        if states:
            sync_folder(self.path / UNITS)
        publish(self.path, names)
        manifest["sources"] += listed
        manifests.save(self.path, manifest)
        self._stored_checkpoints = checkpoints.height
        self._new_results = []
        return True

    def _new_instances(self, state: _UnitState) -> Piece | None:
        """Instances that came to a unit, written aside."""
        if not state.new_instances:
            return None
        name = numbered("instances", len(state.entry["instances"]))
        return self._piece(f"{state.entry['folder']}/{name}", pl.concat(state.new_instances))

    def _publish_unit(self, state: _UnitState, instances: Piece | None) -> None:
        entry = state.entry
        files = [part["file"] for part in state.new_parts]
        if instances is not None:
            entry["instances"].append(instances)
            files.append(instances["file"])
        rename(self.path / entry["folder"], [Path(file).name for file in files])
        entry["parts"] += state.new_parts
        for at in range(len(state.parts) - len(state.new_parts), len(state.parts)):
            written = state.parts[at]
            state.parts[at] = PartFile(self.path / written.part["file"], written.part)
            state.parts[at].bounds = written.bounds
        state.new_parts, state.new_instances = [], []
        if self._units[unit_key(entry)] == len(self.manifest["units"]):
            self.manifest["units"].append(entry)

    def _piece(self, file: str, frame: pl.DataFrame) -> Piece:
        path = self.path / (file + TEMPORARY)
        oldest = pl.CompatLevel.oldest()
        try:
            frame.rechunk().write_ipc(path, compression="uncompressed", compat_level=oldest)
        except Exception as error:
            known = system_error(error)
            if known is None:
                raise
            raise StoreError(not_written(path, known)) from None
        sync_file(path)
        ((size, checksum),) = kernels().file_checksums([str(path)])
        return Piece(file=file, bytes=size, xxh3=checksum, rows=frame.height)


@dataclass
class _Given:
    """A slot on its way to a part; ``there`` None: every cell has a score."""

    values: NDArray[Any]
    there: Mask | None
    not_scored: Mask | None
    weights: NDArray[Any] | None

    def widened(self, columns: NDArray[np.intp] | None, width: int) -> _Given:
        """The same in all columns of the unit."""
        if columns is None:
            return self
        rows = self.values.shape[0]

        def spread(cells: NDArray[Any], fill: Any) -> NDArray[Any]:
            out = np.full((rows, width), fill, dtype=cells.dtype)
            out[:, columns] = cells
            return out

        there = self.there
        if there is None and len(columns) < width:
            there = np.ones(self.values.shape, dtype=bool)
        return _Given(
            spread(self.values, 0),
            None if there is None else spread(there, fill=False),
            None if self.not_scored is None else spread(self.not_scored, fill=False),
            None if self.weights is None else spread(self.weights, np.nan),
        )

    def cells_there(self) -> Mask:
        return np.ones(self.values.shape, dtype=bool) if self.there is None else self.there

    def present(self) -> Mask:
        there = self.cells_there()
        return there if self.not_scored is None else there | self.not_scored

    def present_rows(self) -> Mask:
        rows, width = self.values.shape
        if self.there is None:
            return np.full(rows, width > 0)
        return np.asarray(self.present().any(axis=1))

    def remove(self, cells: Mask) -> None:
        self.there = self.cells_there() & ~cells
        if self.not_scored is not None:
            self.not_scored = self.not_scored & ~cells

    def rows(self, chosen: Mask) -> _Given:
        parts = (self.values, self.there, self.not_scored, self.weights)
        return _Given(*(cast("Any", None if part is None else part[chosen]) for part in parts))

    def count(self) -> int:
        return self.values.size if self.there is None else int(np.count_nonzero(self.there))

    def contiguous(self) -> tuple[NDArray[Any], Mask | None]:
        """Values in a type that the part writer takes, and which are there."""
        kept = (np.float32, np.float64, np.bool_)
        values = np.ascontiguousarray(self.values, dtype=None if self.values.dtype in kept else np.float64)
        return values, None if self.there is None else np.ascontiguousarray(self.there)

    def known_weights(self) -> tuple[NDArray[Any], Mask]:
        """Weights of the cells that are there, and which cells have one."""
        weights = np.ascontiguousarray(self.weights, dtype=np.float64)
        known = ~np.isnan(weights)
        if self.there is not None:
            known &= self.present()
        return np.where(known, weights, 0.0), known


@dataclass
class _Ready:
    """A part that is to be written."""

    state: _UnitState
    checkpoints: Ids
    given: Mapping[SlotKey, _Given]


class _Planned:
    """The columns of a part, and which of them make a slot."""

    def __init__(self, ready: _Ready, dtype: Dtype) -> None:
        taken: set[str] = {"checkpoint"}
        self.columns: list[tuple[str, NDArray[Any], Mask | None, str]] = []
        columns = self.columns
        # Places among the columns.
        self._layout: list[tuple[SlotKey, int, int, int | None, int | None]] = []
        for key, slot in ready.given.items():
            name = _free_name(key, taken)
            scores, weights, not_scored = len(columns), None, None
            columns.append((name, *slot.contiguous(), dtype))
            if slot.weights is not None:
                weights = len(columns)
                # Denominators are never rounded, whatever the scores are kept in.
                columns.append((f"{name} weight", *slot.known_weights(), "auto"))
            if slot.not_scored is not None and slot.not_scored.any():
                not_scored = len(columns)
                columns.append((f"{name} not scored", np.ascontiguousarray(slot.not_scored), None, "auto"))
            self._layout.append((key, slot.count(), scores, weights, not_scored))

    def part(self, file: str, ready: _Ready, written: Mapping[str, Any]) -> Part:
        """The part as the manifest has it."""
        found = [
            cast("Column", {"name": name, **column})
            for (name, *_), column in zip(self.columns, written["columns"], strict=True)
        ]
        slots = [
            Slot(
                metric=key[0],
                filter=key[1],
                repeat=key[2],
                scores=found[scores],
                n=n,
                weights=None if weights is None else found[weights],
                not_scored=None if not_scored is None else found[not_scored],
            )
            for key, n, scores, weights, not_scored in self._layout
        ]
        return Part(
            file=file,
            bytes=written["bytes"],
            xxh3=written["xxh3"],
            rows=len(ready.checkpoints),
            width=len(ready.state.ids),
            checkpoints=written["checkpoints"],
            slots=slots,
        )


def _free_name(key: SlotKey, taken: set[str]) -> str:
    """``acc``, ``exact_match[strict-match]``, ``pass#3``: for people; the manifest says what is what."""
    metric, filter_, repeat = key
    name = metric + (f"[{filter_}]" if filter_ is not None else "") + (f"#{repeat}" if repeat else "")
    while name in taken or f"{name} weight" in taken or f"{name} not scored" in taken:
        name += "'"
    taken.add(name)
    return name


CHECKPOINT_SCHEMA: dict[str, pl.DataType] = {name: COLUMNS[name] for name in CHECKPOINT}
RESULT_SCHEMA: dict[str, pl.DataType] = {name: COLUMNS[name] for name in RESULT}
INSTANCE_SCHEMA: dict[str, pl.DataType] = {"instance_id": pl.String(), "cluster": pl.String()}


def unit_key(unit: Unit) -> UnitKey:
    """Task, subtask and config of a unit."""
    return unit["task"], unit["subtask"], unit["config"]


def read_pieces(store: Path, pieces: Sequence[Piece], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """A table that is kept in pieces; later ones may have more columns."""
    frames = [pl.DataFrame(schema=schema)]
    for piece in pieces:
        try:
            frames.append(pl.read_ipc(store / piece["file"]))
        except (OSError, pl.exceptions.PolarsError) as error:
            detail = str(error).split("\n")[0]
            raise StoreError(f"{store / piece['file']} is damaged or missing: {detail}") from None
        except pl.exceptions.PanicException:  # no Exception, and what it says is of no use to anybody
            raise StoreError(f"{store / piece['file']} is damaged") from None
        if frames[-1].height != piece["rows"]:
            raise StoreError(
                f"{store / piece['file']} is damaged: it has {frames[-1].height} rows, and the manifest says "
                f"{piece['rows']}"
            )
    return pl.concat(frames, how="diagonal_relaxed").rechunk()
