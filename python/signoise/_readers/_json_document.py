"""Large JSON documents value by value, so that memory is bounded by the largest value and not by the file.

A log of an evaluation is one JSON document with a list of samples in it. ``Document`` walks its top level and, in
lists that are asked for, element by element. What stands before the place where a file was cut is handed over
before ``Damaged`` is raised.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, cast

from . import _zstd
from ._documents import MAX_JSON_BYTES

MAX_VALUE = 1 << 26
"""Characters of one value (a sample, the header of a log) that are read at most."""

_CHUNK = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
_UNSURE = re.compile(r"[.eE+-]{0,2}")  # after a number at the end: nothing tells that it was not cut
_DECODER = json.JSONDecoder()


class Damaged(ValueError):
    """A document that cannot be read (further); the message says why, where, and what to do."""


class Document:
    """One JSON document in a file, plain, gzipped or (at most `MAX_JSON_BYTES` of text) in Zstandard.

    Parameters
    ----------
    path : Path
    max_value : int
        A longer value is refused.

    Attributes
    ----------
    replaced : bool
        Whether bytes that are not UTF-8 were met so far; each such byte became a lone surrogate.
    """

    def __init__(self, path: Path, *, max_value: int = MAX_VALUE) -> None:
        self._path = path
        self._max = max_value
        self._handle: IO[bytes] | None = None
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0
        self._before = 0  # characters given up so far
        self._ended = False
        self.replaced = False

    def __enter__(self) -> Document:
        handle: IO[bytes] = self._path.open("rb")
        magic = handle.read(4)
        handle.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            self._handle = cast("IO[bytes]", gzip.GzipFile(fileobj=handle))
            self._inner = handle
        elif magic == _zstd.MAGIC:
            # Whole, as nothing unpacks it piece by piece.
            with handle:
                try:
                    text = _zstd.unpack(handle.read(MAX_JSON_BYTES + 1), MAX_JSON_BYTES)
                except ValueError as error:
                    raise Damaged(str(error)) from None
            self._handle = self._inner = io.BytesIO(text)
        else:
            self._handle = self._inner = handle
        if self._peek() == "\ufeff":
            self._at += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()

    def members(self, streamed: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
        """(key, value) of the object; of a list named in ``streamed`` (key, element) for each of its elements.

        Raises
        ------
        Damaged
            Where the document is not an object, is cut or broken, or holds a value above the limit.
        """
        self._expect("{")
        if self._peek() == "}":
            return
        while True:
            key = self._value()
            if not isinstance(key, str):
                raise Damaged(f"not JSON: a key of an object is no text, at character {self._where()}")
            self._expect(":")
            if key in streamed and self._peek() == "[":
                for element in self._elements():
                    yield key, element
            else:
                yield key, self._value()
            if self._next_of("}"):
                return

    def elements(self) -> Iterator[Any]:
        """Elements of the document, which is a list."""
        return self._elements()

    def _elements(self) -> Iterator[Any]:
        self._expect("[")
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            if self._next_of("]"):
                return

    def _next_of(self, close: str) -> bool:
        """Step over a comma, or over the end of the list or object (True)."""
        found = self._peek()
        if found not in (",", close):
            raise self._broken(found)
        self._at += 1
        return found == close

    def _expect(self, wanted: str) -> None:
        found = self._peek()
        if found != wanted:
            raise self._broken(found)
        self._at += 1

    def _broken(self, found: str) -> Damaged:
        if found:
            return Damaged(f"not JSON: unexpected {found!r} at character {self._where()}")
        return Damaged(
            f"the JSON ends too early, at character {self._where()}: the file was cut; copy or evaluate it again"
        )

    def _where(self) -> int:
        return self._before + self._at

    def _peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            self._at = cast("re.Match[str]", _SPACE.match(self._text, self._at)).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # Far from the end of what was read it is an error in the text, not a value read in part.
                inside = error.pos < len(self._text) - 16 and not error.msg.startswith("Unterminated")
                if inside or (len(self._text) - self._at <= self._max and not self._more()):
                    if inside:
                        where = self._before + error.pos
                        raise Damaged(f"not JSON: {error.msg} at character {where}") from None
                    self._at = len(self._text)
                    raise self._broken("") from None
            except RecursionError:
                raise Damaged(f"the JSON is nested too deeply, at character {self._where()}") from None
            except ValueError as error:  # an integer of thousands of digits
                raise Damaged(f"not JSON: {error} (at character {self._where()})") from None
            else:
                length = end - self._at
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                # A number may go on in what was not read yet, as in `1` and `e+5`.
                if end + (2 if number else 0) < len(self._text) or not self._more():
                    self._at += length
                    if number and self._ended and _UNSURE.fullmatch(self._text, self._at):
                        raise self._broken("")
                    return value
            if len(self._text) - self._at > self._max:
                raise Damaged(
                    f"the value at character {self._where()} has more than {self._max} characters, "
                    f"or it never ends; cut it down"
                )

    def _more(self) -> bool:
        """Read on, at least as much as is kept, so that a long value is not tried too often."""
        if self._ended or self._handle is None:
            return False
        self._before += self._at
        kept = self._text[self._at :]
        self._at = 0
        self._text = kept
        try:
            data = self._handle.read(max(_CHUNK, len(kept)))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self._ended = True
            raise Damaged(f"damaged gzip file ({error}); compress or copy it again") from None
        self._ended = not data
        text = self._decode.decode(data, final=not data)
        if text and not text.isascii() and not self.replaced:
            try:
                text.encode()
            except UnicodeEncodeError:
                self.replaced = True
        self._text = kept + text
        return bool(text) or not self._ended
