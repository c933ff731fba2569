"""Zstandard files in memory, bounded before anything is unpacked: Python has no zstd before 3.14, and Polars no limit.

A frame (RFC 8878) is a list of blocks, of which none holds more than 128 KiB, so the headers of the blocks bound what
a file unpacks to. Some blocks from its start, with a header of their own, are a frame again.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from itertools import islice

import polars as pl

MAGIC = b"\x28\xb5\x2f\xfd"
_BLOCK = 1 << 17
_HEAD_BLOCKS = 8
"""How many blocks the start of a file is made of; most writers fill the first."""
_WINDOW = (20 - 10) << 3
"""Descriptor of a window of 1 MiB, what the blocks of a start hold at most."""
_RLE, _COMPRESSED = 1, 2
_SMALL = 1 << 11
"""Bytes that blocks hold on average at least, or else there are too many of them to look at."""


def unpack(data: bytes, limit: int) -> bytes:
    """Everything in a file, which must be UTF-8; without a byte-order mark.

    Raises
    ------
    ValueError
        Where it is cut or damaged, no UTF-8, or may be more than `limit` bytes.
    """
    at = size = count = 0
    while at < len(data):
        if (after := _skipped(data, at)) is not None:
            at = after
            continue
        checksum = 4 * (data[at + 4] >> 2 & 1)
        for _, end, most in _blocks(data, at):
            at, size, count = end, size + most, count + 1
            if size > limit or count > limit // _SMALL:
                raise ValueError(f"its text may be more than {limit} bytes, too many for one document")
        at += checksum
    if at > len(data):
        raise ValueError(_CUT)
    return _text(data)


def start(data: bytes) -> bytes:
    """Text from the start of a file of which `data` are the first bytes; empty where there is none."""
    try:
        at = 0
        while (after := _skipped(data, at)) is not None:
            at = after
        whole: list[tuple[int, int]] = []
        with contextlib.suppress(ValueError):  # it goes on beyond these bytes
            for first, end, _ in islice(_blocks(data, at), _HEAD_BLOCKS):
                if end <= len(data):
                    whole.append((first, end))
        if not whole:
            return b""
        last = bytearray(data[slice(*whole[-1])])
        last[0] |= 1
        window = _WINDOW if data[at + 4] & 0x20 else data[at + 5]
        return _text(MAGIC + bytes([0, window]) + data[whole[0][0] : whole[-1][0]] + last, lossy=True)
    except ValueError:
        return b""


_CUT = "the zstd data end too early: the file was cut; copy it again"
_DAMAGED = "damaged zstd data ({}); copy the file again"


def _skipped(data: bytes, at: int) -> int | None:
    """Where a frame ends that is of no interest; None for one with blocks."""
    if len(data) < at + 9:
        raise ValueError(_CUT)
    magic = data[at : at + 4]
    if magic == MAGIC:
        return None
    if 0x184D2A50 <= int.from_bytes(magic, "little") <= 0x184D2A5F:
        return at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    raise ValueError(_DAMAGED.format(f"byte {at} begins no frame"))


def _blocks(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, largest size unpacked) of the blocks of a frame."""
    descriptor = data[at + 4]
    single = descriptor >> 5 & 1
    at += 6 - single + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
    last = False
    while not last:
        if len(data) < at + 3:
            raise ValueError(_CUT)
        header = int.from_bytes(data[at : at + 3], "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind > _COMPRESSED or size > _BLOCK:
            raise ValueError(_DAMAGED.format(f"byte {at} begins no block"))
        end = at + 3 + (1 if kind == _RLE else size)
        yield at, end, _BLOCK if kind == _COMPRESSED else size
        at = end


def _text(data: bytes, *, lossy: bool = False) -> bytes:
    """What Polars unpacks: one line with one column, as no text has the bytes that would end these."""
    try:
        frame = pl.read_csv(
            io.BytesIO(data),
            has_header=False,
            separator="\x02",
            eol_char="\x01",
            quote_char=None,
            schema={"text": pl.String},
            encoding="utf8-lossy" if lossy else "utf8",
        )
    except pl.exceptions.NoDataError:
        return b""
    except pl.exceptions.SchemaError:
        raise ValueError("it holds control characters: no text") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        if "utf-8" in str(error):
            raise ValueError("bytes that are not UTF-8; save the file as UTF-8") from None
        raise ValueError(_DAMAGED.format(error)) from None
    return b"\x01".join(text.encode() for text in frame["text"].fill_null(""))
