"""The scan of Parquet files in parts: whatever the partitions, and whoever works on them, the bits of the whole."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import signoise as sn
from signoise import _core

KEYS = ["run", "task"]
VALUES = ["acc", "loss"]
REQUEST: dict[str, Any] = {"inner": [False, True], "identity": "instance_id"}


def assert_same_bits(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["labels"] == expected["labels"]
    assert found["rows"] == expected["rows"]
    for ours, theirs in zip(found["codes"], expected["codes"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found["doubtful"], expected["doubtful"])
    for name, values in expected["moments"].items():
        assert found["moments"][name].tobytes() == values.tobytes(), name


def in_parts(paths: Sequence[str], cuts: Sequence[int], by: int) -> dict[str, Any]:
    """Units cut into partitions before these, each mapped by itself and merged in order."""
    plan = _core.plan_parquet(paths, KEYS, **REQUEST)
    files = [paths[file] for file in plan["file"]]
    edges = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(files)), len(files)]
    states = (
        _core.map_parquet(
            files[start:end],
            plan["first"][start:end],
            plan["rows"][start:end],
            KEYS,
            VALUES,
            kept=plan["kept"],
            **REQUEST,
        )
        for start, end in pairwise(edges)
    )
    return _core.merge_parquet(states, len(VALUES), by=by, inner=REQUEST["inner"], kept=plan["kept"])


def written(folder: Path, frames: Sequence[pl.DataFrame], rows: int) -> list[str]:
    paths = []
    for at, frame in enumerate(frames):
        paths.append(str(folder / f"{at}.parquet"))
        frame.write_parquet(paths[-1], row_group_size=rows)
    return paths


@settings(max_examples=25)
@given(st.data())
def test_any_partition_has_the_bits_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    score = st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(width=32))
    row = st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 2)), st.integers(0, 9), score)
    frames = [
        pl.DataFrame(
            data.draw(st.lists(row, max_size=30)),
            schema={"run": pl.String, "task": pl.Int64, "instance_id": pl.Int64, "loss": pl.Float64},
            orient="row",
        ).with_columns(acc=(pl.col("instance_id") % 2).cast(pl.Float64))
        for _ in range(data.draw(st.integers(1, 7)))
    ]
    paths = written(tmp_path_factory.mktemp("parts"), frames, data.draw(st.integers(1, 40)))
    by = data.draw(st.integers(0, 2))
    whole = _core.aggregate_parquet(paths, KEYS, VALUES, by=by, **REQUEST)
    assert_same_bits(in_parts(paths, data.draw(st.lists(st.integers(1, 6))), by), whole)


def scattered(seed: int, n: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"run": ["a", "b", "c"]}).join(pl.DataFrame({"task": ["t", "u"]}), how="cross")
    frame = frame.join(pl.DataFrame({"instance_id": range(n)}), how="cross").with_columns(step=pl.lit(seed))
    frame = frame.with_columns(
        acc=pl.Series(rng.integers(0, 2, frame.height).astype(float)),
        loss=pl.Series(rng.normal(2, 1, frame.height)),
    )
    return frame.sample(fraction=1, shuffle=True, seed=seed)


def test_units_begin_with_files_and_every_four_million_rows(tmp_path: Path) -> None:
    rows = (4 << 20) + (1 << 18)
    large = pl.select(
        pl.int_range(rows).alias("loss").cast(pl.Float64) / 3,
        run=pl.lit("a"),
        task=pl.int_range(rows) % 2,
        acc=(pl.int_range(rows) % 5 == 0).cast(pl.Float64),
        instance_id=pl.lit(1),
    )
    paths = written(tmp_path, [large, large.head(10)], 1 << 18)
    plan = _core.plan_parquet(paths, KEYS, **REQUEST)
    assert (plan["file"].tolist(), plan["first"].tolist()) == ([0, 0, 1], [0, 4 << 20, 0])
    assert plan["rows"].tolist() == [4 << 20, 1 << 18, 10]
    whole = _core.aggregate_parquet(paths, KEYS, VALUES, by=2, **REQUEST)
    assert_same_bits(in_parts(paths, [1, 2], 2), whole)
    even = np.concatenate([np.arange(0, rows, 2), np.arange(0, 10, 2)]) / 3
    np.testing.assert_allclose(whole["moments"]["mean"][1], even.mean(), rtol=1e-12)
    np.testing.assert_allclose(whole["moments"]["m2"][1], even.var() * even.size, rtol=1e-10)


def test_instances_are_told_apart_across_partitions(tmp_path: Path) -> None:
    # No group is in one unit alone: that it holds an instance once is known by its hashes, put together again.
    frame = scattered(1)
    twice = pl.concat([frame, frame.filter(run="b", task="u").head(1)]).sample(
        fraction=1, shuffle=True, seed=2
    )
    for rows, doubtful in ((frame, 0), (twice, 1)):
        paths = written(tmp_path, [rows[at : at + 500] for at in range(0, rows.height, 800)], 800)
        whole = _core.aggregate_parquet(paths, KEYS, VALUES, by=2, **REQUEST)
        assert whole["doubtful"].sum() == doubtful
        assert_same_bits(in_parts(paths, range(4), 2), whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state[:-1], "checksum"),
        (lambda state: state[:40] + bytes([state[40] ^ 1]) + state[41:], "checksum"),
        (lambda state: b"NOTASTATE" + state, "does not begin"),
        (lambda _: b"", "does not begin"),
    ],
)
def test_a_state_that_was_changed_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    paths = written(tmp_path, [scattered(1)], 100)
    plan = _core.plan_parquet(paths, KEYS, **REQUEST)
    state = _core.map_parquet(paths, [0], plan["rows"], KEYS, VALUES, kept=plan["kept"], **REQUEST)
    options: dict[str, Any] = {"by": 2, "inner": [False, True], "kept": plan["kept"]}
    with pytest.raises(sn.ReadError, match=f"state of a partition: .*{message}"):
        _core.merge_parquet([change(state)], 2, **options)
    with pytest.raises(sn.ReadError, match="not those of this request"):
        _core.merge_parquet([state], 1, **options)
    with pytest.raises(TypeError):
        _core.merge_parquet([1], 2, **options)  # type: ignore[list-item]


class Elsewhere:
    """An engine whose workers share no memory and work in the wrong order; what a cluster is, without one."""

    shares = 100

    def __init__(self) -> None:
        self.names: list[str] = []

    def threads_of(self, threads: int | None) -> int | None:
        del threads
        return 1

    def map(
        self,
        function: Callable[[Any], Any],
        partitions: Sequence[Any],
        *,
        sizes: Sequence[float] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Any]:
        assert sizes is not None
        self.names += [partition.name for partition in partitions]
        found = {}
        for at in reversed(range(len(partitions))):
            mapper, partition = pickle.loads(pickle.dumps((function, partitions[at])))
            found[at] = mapper(partition)
        for at in range(len(partitions)):
            yield found[at]
            if progress is not None:
                progress(int(sum(sizes[: at + 1])), int(sum(sizes)))


def test_aggregate_on_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signoise._parquet_scan._FEWEST", 1000)
    for step in range(5):
        scattered(step).write_parquet(tmp_path / f"{step}.parquet", row_group_size=700)
    # Rows that come twice are settled here, whoever found them.
    scattered(3).filter(run="b").write_parquet(tmp_path / "again.parquet")
    by = ["run", "step", "task", "metric"]
    with pytest.warns(sn.DroppedRowsWarning, match="1600 exact duplicate"):
        expected = sn.aggregate(tmp_path, by=by)
    engine = Elsewhere()
    with pytest.warns(sn.DroppedRowsWarning, match="1600 exact duplicate"):
        found = sn.aggregate(tmp_path, by=by, engine=engine)
    assert found.equals(expected, null_equal=True)
    assert len(engine.names) == 6
    assert engine.names[0] == f"2,400 rows of {tmp_path / '0.parquet'}"


def told(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return call(), [str(one.message) for one in caught]


@pytest.mark.parametrize("name", ["lm_eval", "inspect_ai", "helm", "lighteval", "olmes_handmade"])
def test_dumps_are_loaded_by_an_engine(
    name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A commit for each file, so that there is much to load side by side.
    monkeypatch.setattr("signoise._store._ingest.BATCH_BYTES", 1)
    source = shared / "data" / "dumps" / name
    by = ["run", "step", "task", "metric", "filter"]
    expected, said = told(lambda: sn.aggregate(source, by=by))
    found, said_too = told(lambda: sn.aggregate(source, by=by, engine=Elsewhere()))
    assert found.equals(expected, null_equal=True)
    assert said_too == said
    engine = Elsewhere()
    stores = tmp_path / "here", tmp_path / "there"
    done, _ = told(lambda: sn.ingest(source, stores[0], duplicates="first"))
    done_too, _ = told(lambda: sn.ingest(source, stores[1], duplicates="first", engine=engine))
    assert str(done_too) == str(done)
    assert len(engine.names) > 1
    assert contents(stores[1]) == contents(stores[0])


def contents(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_what_no_engine_adds_up_is_said(tmp_path: Path) -> None:
    frame = scattered(0)
    frame.write_parquet(tmp_path / "t.parquet")
    engine = Elsewhere()
    for source, options in ((frame, {}), (tmp_path, {"where": "run != 'c'"})):
        with pytest.warns(sn.DroppedRowsWarning, match="engine: the rows were added up in this process"):
            found = sn.aggregate(source, engine=engine, **options)
        assert found.equals(sn.aggregate(source, **options))
    assert not engine.names
