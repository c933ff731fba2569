"""Documents value by value: as `json.loads` reads them, whatever the pieces, and the sound part of a cut one."""

from __future__ import annotations

import gzip
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dumps import write
from signoise._readers import _json_document
from signoise._readers._json_document import Damaged, Document

TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("documents")


@pytest.fixture(scope="module", autouse=True)
def small_pieces():
    """Every border between pieces is met."""
    before, _json_document._CHUNK = _json_document._CHUNK, 3
    yield
    _json_document._CHUNK = before


@given(values=st.lists(VALUES, max_size=5), indent=st.sampled_from([None, 2]), plain=st.booleans())
def test_list_is_read_as_json_reads_it(folder, values, indent, plain):
    path = write(
        folder / "a.json",
        json.dumps(values, indent=indent, ensure_ascii=plain).encode("utf-8", "surrogatepass"),
    )
    with Document(path) as document:
        assert json.dumps(list(document.elements())) == json.dumps(values)


@given(members=st.dictionaries(st.text(max_size=4), VALUES, max_size=5))
def test_object_is_read_as_json_reads_it(folder, members):
    path = write(folder / "b.json", members)
    with Document(path) as document:
        assert dict(document.members()) == members


def test_every_cut_gives_the_values_before_it(folder):
    values = [12, {"a": '}]"'}, -1.5e3, "x", [1, [2]], True, None]
    text = json.dumps(values)
    for at in range(len(text)):
        path = write(folder / "c.json", text[:at])
        read = []
        with pytest.raises(Damaged, match="ends too early"), Document(path) as document:
            read.extend(document.elements())
        assert read == values[: len(read)]
        # The comma or bracket after a value makes it sure.
        assert len(read) >= sum(text[:at].startswith(json.dumps(values[:n])[:-1] + ",") for n in range(1, 8))


def test_streamed_list_comes_element_by_element(folder):
    path = write(folder / "d.json", {"a": [1, 2], "s": [3, {"b": 4}], "e": [], "z": 5})
    with Document(path) as document:
        assert list(document.members(streamed=("s", "e"))) == [
            ("a", [1, 2]),
            ("s", 3),
            ("s", {"b": 4}),
            ("z", 5),
        ]


def test_tokens_that_are_not_json(folder):
    path = write(folder / "e.json", "[NaN, Infinity, -Infinity]")
    with Document(path) as document:
        first, second, third = document.elements()
    assert math.isnan(first)
    assert (second, third) == (math.inf, -math.inf)


def test_mark_gzip_and_odd_bytes(folder):
    with Document(write(folder / "f.json", b"\xef\xbb\xbf [1]\r\n")) as document:
        assert list(document.elements()) == [1]
    with Document(write(folder / "g.json.gz", gzip.compress(b"[1, 2]"))) as document:
        assert list(document.elements()) == [1, 2]
    with Document(write(folder / "h.json", b'["caf\xe9", "\xc3\xa9"]')) as document:
        assert list(document.elements()) == ["caf\udce9", "é"]
        assert document.replaced


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ends too early"),
        (b"{}", "unexpected '{'"),
        (b"[1 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]", "unexpected '2'"),
        (b"[" * 200_000, "nested too deeply|ends too early"),
        (b"[" + b"9" * 10_000 + b"]", "not JSON"),
        (b"\x28\xb5\x2f\xfd....", "zstd data end too early"),
        (gzip.compress(b"[" + b"1, 2, 3, " * 99 + b"4]", mtime=0)[:-12], "damaged gzip"),
        (b'["' + b"x" * 5000 + b'"]', "more than 1000 characters"),
        (b'["' + b"x" * 5000, "more than 1000 characters"),
    ],
)
def test_damage_is_told(folder, content, said):
    path = write(folder / "i.json", content)
    limit = 1000 if b"xxx" in content else _json_document.MAX_VALUE
    with pytest.raises(Damaged, match=said), Document(path, max_value=limit) as document:
        for _ in document.elements():
            pass
