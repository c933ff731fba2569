"""Small sound files for each target to begin with: ``python fuzz/seeds.py fuzz/corpus``.

The first bytes choose the options of `entries.rs`; a few of them are made of each file.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Seed = tuple[str, bytes]


def instances(rows: int = 60) -> pa.Table:
    """What the Parquet targets ask for: keys, identities and scores of every type."""
    at = range(rows)
    columns: dict[str, pa.Array] = {
        "run": pa.array([f"run-{i // 30}" for i in at]),
        "step": pa.array([1000 * (i // 10 % 3) for i in at], pa.int64()),
        "seed": pa.array([i // 30 for i in at], pa.int32()),
        "task": pa.array(["arc" if i % 10 < 5 else "wiki" for i in at]),
        "metric": pa.array(["acc"] * rows),
        "id": pa.array([f"q{i % 5}" for i in at]),
        "number": pa.array([i % 5 for i in at], pa.int64()),
        "acc": pa.array([None if i % 17 == 3 else i % 3 == 0 for i in at], pa.bool_()),
        "loss": pa.array([float("nan") if i == 7 else i / 7 for i in at], pa.float64()),
        "small": pa.array([i / 3 for i in at], pa.float32()),
        "count": pa.array([i % 4 for i in at], pa.int32()),
        "long": pa.array([None if i % 5 == 0 else i << 33 for i in at], pa.int64()),
        "part": pa.array([i % 9 / 8 for i in at], pa.float16()),
    }
    return pa.table(columns)


def parquet() -> Iterator[bytes]:
    """Codecs, dictionaries, page versions, small pages, several row groups."""
    for codec in ("none", "snappy", "zstd", "lz4", "gzip", "brotli"):
        for version in ("1.0", "2.0"):
            for dictionary in (True, False):
                out = io.BytesIO()
                pq.write_table(
                    instances(),
                    out,
                    compression=codec,
                    data_page_version=version,
                    use_dictionary=dictionary,
                    row_group_size=30,
                    store_schema=False,
                )
                yield out.getvalue()
    for options in (
        {
            "column_encoding": {
                "loss": "BYTE_STREAM_SPLIT",
                "long": "DELTA_BINARY_PACKED",
                "id": "DELTA_BYTE_ARRAY",
            }
        },
        {"data_page_size": 16, "write_batch_size": 4},
    ):
        out = io.BytesIO()
        pq.write_table(instances(), out, use_dictionary=False, compression="none", **options)
        yield out.getvalue()


def pages() -> Iterator[bytes]:
    """Column chunks taken out of such files, with the four bytes that say what they are."""
    kinds = {"BOOLEAN": 0, "INT32": 1, "INT64": 2, "FLOAT": 3, "DOUBLE": 4, "BYTE_ARRAY": 5}
    codecs = {"UNCOMPRESSED": 0, "SNAPPY": 2, "ZSTD": 3, "LZ4": 4, "GZIP": 5, "BROTLI": 6}
    for content in parquet():
        group = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
        for at in range(group.num_columns):
            chunk = group.column(at)
            if chunk.physical_type not in kinds:
                continue
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            body = content[start : start + chunk.total_compressed_size]
            for use in range(4):
                how = kinds[chunk.physical_type] | 8 | use << 4
                yield bytes([how, codecs[chunk.compression], group.num_rows, 0]) + body


def lines() -> Iterator[bytes]:
    """Rows as harnesses write them, and odd ones."""
    rows = [
        {
            "doc_id": i,
            "doc": {"q": 'a "b" \\ é', "choices": ["x", "y" * 70]},
            "arguments": [[[]], {}],
            "acc": i % 2,
        }
        for i in range(6)
    ]
    plain = b"\n".join(json.dumps(row).encode() for row in rows)
    odd = b'\xef\xbb\xbf{"a": NaN, "b": -Infinity, "a": "\\ud83d\\ude00"}\r\n\r\n{"acc": "nan"}\n{"a": 1e999, "b": tru}'
    for text in (plain, odd, json.dumps(rows, indent=2).encode(), b"[" * 70 + b"]" * 70, b'{"a":"\\u12"}'):
        yield from (text, gzip.compress(text, mtime=0), pa.compress(text, codec="zstd", asbytes=True))
        yield gzip.compress(text[:90], mtime=0) + gzip.compress(text[90:], mtime=0)


def archives() -> Iterator[bytes]:
    """Stored and deflated members, folders, names that lead elsewhere."""
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            for name in (
                "header.json",
                "samples/1_epoch_1.json",
                "../../escape.json",
                "/etc/passwd",
                "folder/",
                "é",
            ):
                archive.writestr(name, b"" if name.endswith("/") else b'{"a": [1, 2, 3]}' * 9)
        yield out.getvalue()
        yield out.getvalue() + b"tail"


def laws() -> Iterator[bytes]:
    """``E + exp(a - alpha x)``, as steps and numbers."""
    steps = bytes([1, 0, 0, 1, 1, 0, 1, 2, 0, 2, 0, 0, 10, 2, 3, 9, 1, 4, 4, 5, 0, 8, 0, 6])
    numbers = struct.pack("<40d", *(0.1 * i - 1.5 for i in range(40)))
    for how in range(0, 256, 37):
        yield bytes([8, 3, 1, how]) + steps + numbers


def seeds() -> Iterator[Seed]:
    """Target and content."""
    for content in parquet():
        yield "parquet_footers", content
        yield from (("parquet_aggregate", bytes([how]) + content) for how in (0, 17, 34, 67))
        yield from (("parquet_dense", bytes([how]) + content) for how in (0, 7, 30))
    yield from (("parquet_pages", content) for content in pages())
    for content in lines():
        yield from (("json_lines", bytes([how]) + content) for how in (0, 65, 130, 223))
        yield "text", bytes([20]) + content
    yield from (("archive", content) for content in archives())
    yield from (("laws", content) for content in laws())
    cells = struct.pack("<24d", *(i % 2 if i < 12 else i / 3 for i in range(24)))
    yield from (("store_part", bytes([how, 3]) + cells) for how in range(0, 64, 5))


def main(place: Path) -> None:
    """Write one file a seed; names are numbers."""
    for number, (target, content) in enumerate(seeds()):
        folder = place / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"seed-{number:04}").write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
