"""Whole documents in Zstandard: every dump compressed reads the same, nothing is unpacked without a bound."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from signoise._readers import _zstd, read
from signoise._readers._files import Found, head_of

pa = pytest.importorskip("pyarrow")

LIMIT = 1 << 22
TEXT = json.dumps([{"name": f"é {n}", "value": n / 7} for n in range(40_000)], indent=1).encode()
SKIPPED = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"


def packed(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


def bomb(blocks: int) -> bytes:
    """A frame of blocks that repeat one byte 128 Ki times."""
    block = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + b"a"
    last = bytes([block[0] | 1]) + block[1:]
    return _zstd.MAGIC + b"\x00\x58" + block * (blocks - 1) + last


@pytest.mark.parametrize(
    "name", ["code_handmade", "helm", "inspect_ai", "lighteval", "lm_eval", "olmes_handmade"]
)
@pytest.mark.parametrize("suffix", [".zst", ".gz"])
def test_compressed_dumps_read_the_same(shared: Path, tmp_path: Path, name: str, suffix: str) -> None:
    folder = shared / "data/dumps" / name
    shutil.copytree(folder, tmp_path / name)
    for path in (tmp_path / name).rglob("*.json*"):
        compress = packed if suffix == ".zst" else gzip.compress
        path.with_name(path.name + suffix).write_bytes(compress(path.read_bytes()))
        path.unlink()
    plain, told = read(folder)
    small, told_too = read(tmp_path / name)
    expected = plain.collect().drop("source")
    found = small.select(expected.columns).collect()
    assert found.sort(expected.columns).equals(expected.sort(expected.columns))
    assert told_too.checked == told.checked > 0
    assert not told_too.skipped
    assert not told_too.dropped


def test_unpacking() -> None:
    assert _zstd.unpack(packed(TEXT), LIMIT) == TEXT
    cut = TEXT.index(b"1000")
    several = packed(TEXT[:cut]) + SKIPPED + packed(TEXT[cut:]) + SKIPPED
    assert _zstd.unpack(several, LIMIT) == TEXT
    assert _zstd.unpack(packed(b""), LIMIT) == _zstd.unpack(b"", LIMIT) == b""
    assert _zstd.unpack(packed(b"a\x01b"), LIMIT) == b"a\x01b"
    assert _zstd.unpack(bomb(LIMIT >> 17), LIMIT) == b"a" * LIMIT


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bomb((LIMIT >> 17) + 1), "may be more than"),
        (packed(TEXT)[:-1], "end too early"),
        (packed(TEXT)[:20], "end too early"),
        (packed(TEXT)[:7], "end too early"),
        (packed(TEXT) + packed(TEXT)[:50], "end too early"),
        (packed(TEXT) + b"something else", "begins no frame"),
        (packed(b"caf\xe9"), "not UTF-8"),
        (packed(b"a\x02b"), "control characters"),
        (_zstd.MAGIC + b"\x00\x58\x07\x00\x00\x00", "begins no block"),
        (_zstd.MAGIC + b"\x00\x58" + bytes(3) * (LIMIT // 2048 + 1), "may be more than"),
    ],
)
def test_what_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _zstd.unpack(data, LIMIT)


def test_the_start_of_a_file_is_a_start_of_its_text(tmp_path: Path) -> None:
    for data in (packed(TEXT), SKIPPED + packed(TEXT), packed(TEXT)[:-5]):
        start = _zstd.start(data[: 3 << 16])
        assert len(start) > 1 << 16
        assert TEXT.startswith(start[: 1 << 16])
    assert _zstd.start(packed(b"short")) == b"short"
    assert _zstd.start(packed(TEXT)[:30]) == _zstd.start(b"") == _zstd.start(_zstd.MAGIC + bytes(20)) == b""
    path = tmp_path / "huge.json.zst"
    path.write_bytes(bomb(1 << 18))  # 32 GiB
    assert head_of(Found(path, path.name, explicit=True), decompress_zstd=True) == b"a" * (1 << 16)
