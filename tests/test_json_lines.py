"""Rows of JSON Lines files against the plain json module: random values, random damage, packed files, limits."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import signoise._core as core
from signoise import reference
from signoise._errors import OptionError

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json")


@pytest.fixture(scope="session")
def make(folder: Path) -> Make:
    def write(content: bytes, name: str = "rows.jsonl") -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return write


def plain(result: dict[str, Any], reasons: bool = True) -> dict[str, Any]:
    """A result as values that can be compared. Where in a row JSON went wrong only the kernel says."""
    fields = {}
    for name, field in result["fields"].items():
        text = field["text"]
        if text is not None:
            text = pl.Series(text).to_list() if hasattr(text, "__arrow_c_array__") else text
        number, place = field["number"], field["place"]
        assert (text is None) == (place is None)
        fields[name] = (
            field["kind"].tolist(),
            None if number is None else number.view(np.uint64).tolist(),
            text,
            None if place is None else place.tolist(),
        )
    problems = [
        (file, line, reason.split(" (byte")[0] if reasons else "", excerpt)
        for file, line, reason, excerpt in result["problems"]
    ]
    rows = [result[name].tolist() for name in ("file", "line")]
    return {
        "rows": rows,
        "order": list(fields),
        "fields": fields,
        "problems": problems,
        "n": result["n_problems"],
    }


def read(paths: Path | Sequence[Path], **options: Any) -> dict[str, Any]:
    """What the kernel reads; and its twin reads the same."""
    paths = [paths] if isinstance(paths, Path) else list(paths)
    found = core.read_json_lines(paths, **options)
    assert plain(found) == plain(reference.read_json_lines(paths, **options))
    return found


def texts(result: dict[str, Any], name: str) -> list[str | None]:
    field = result["fields"][name]
    return pl.Series(field["text"], dtype=pl.String).gather(field["place"]).to_list()


def reasons(result: dict[str, Any]) -> list[tuple[int, str]]:
    return [(line, reason) for _, line, reason, _ in result["problems"]]


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(),
    st.text('\\"/\b\f\n\r\tü\u2028\U0001f600{}[],: ', max_size=80),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
)
keys = st.sampled_from(["acc", "doc", "doc_id", "a key that is longer than sixteen bytes", 'q"\\', "ü", ""])
objects = st.dictionaries(keys, values, max_size=6)


def dump(value: Any, ascii_only: bool, spaces: bool) -> bytes:
    separators = (" , ", "\t: ") if spaces else (",", ":")
    return json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "replace")


rows = st.builds(dump, objects, st.booleans(), st.booleans())


@given(st.lists(rows, max_size=8), st.sampled_from([b"\n", b"\r\n", b"\n \n\n"]), st.booleans())
def test_sound_rows(make: Make, lines: list[bytes], end: bytes, mark: bool) -> None:
    found = read(make((b"\xef\xbb\xbf" if mark else b"") + end.join(lines)))
    assert found["n_problems"] == 0
    assert len(found["line"]) == len(lines)


@given(st.lists(rows, max_size=8), st.sampled_from([b",", b"\n,\n", b" ,\r\n\t"]))
def test_sound_arrays(make: Make, items: list[bytes], comma: bytes) -> None:
    found = read(make(b"\n [" + comma.join(items) + b"\n]\n"))
    assert found["n_problems"] == 0
    assert len(found["line"]) == len(items)


SPLINTERS = (
    *(
        b"",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\n",
        b"\x00",
        b"\x1f",
        b"\x7f",
        b"\xff",
        b"\\u12",
    ),
    *(b"0", b"-", b".", b"e", b"\\x", b"\xed\xa0\x80", b"\xc3", b"NaN", b"-Infinity", b"tru", b"\xc2\xa0"),
    *(b"\x0b", b" ", b'""', b"\\ud800", b"\xef\xbb\xbf"),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file with bytes replaced, removed and put in where they hurt."""
    lines = draw(st.lists(rows, min_size=1, max_size=4))
    data = bytearray(b"[" + b",\n".join(lines) + b"]" if draw(st.booleans()) else b"\n".join(lines))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 2))
        new = draw(st.sampled_from(SPLINTERS))
        data[at : at + length] = new
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@given(damaged(), st.sampled_from([4, 512]), st.sampled_from([20, 1 << 26]))
def test_damage(make: Make, data: bytes, max_depth: int, max_line_bytes: int) -> None:
    read(make(data), max_depth=max_depth, max_line_bytes=max_line_bytes)


def other(value: Any, draw: st.DrawFn) -> Any:
    """A value of the same shape, with other strings and numbers."""
    match value:
        case str():
            return draw(st.text(max_size=8) | st.text('\\"\nü\U0001f600{}[],: a', max_size=80))
        case bool() | None | int() | float():
            return draw(st.booleans() | st.none() | st.integers(-(2**70), 2**70) | st.floats())
        case list():
            return [other(item, draw) for item in value]
        case _:
            return {key: other(item, draw) for key, item in value.items()}


@st.composite
def alike(draw: st.DrawFn) -> bytes:
    """Rows that one program might have written: all of one layout. Some have a byte replaced."""
    first, ascii_only, spaces = draw(objects), draw(st.booleans()), draw(st.booleans())
    size = draw(st.integers(4, 9))
    lines = [dump(other(first, draw), ascii_only, spaces) for _ in range(size)]
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    data = bytearray(end.join(lines) + end)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 2))] = draw(st.sampled_from(SPLINTERS))
    return bytes(data)


@given(alike(), st.sampled_from([3, 512]), st.sampled_from([60, 1 << 26]))
def test_rows_of_one_layout(make: Make, data: bytes, max_depth: int, max_line_bytes: int) -> None:
    read(make(data), max_depth=max_depth, max_line_bytes=max_line_bytes, odd=["doc"])


def test_a_layout_that_ends(make: Make) -> None:
    """After many rows of other layouts nothing is expected of a row, not even of one without a byte."""
    others = [json.dumps({f"k{at}": [at] * at}).encode() for at in range(12)]
    found = read(make(b"\n".join([*[b'{"a": 1}'] * 4, *others, b"", b'{"a": 2}', b"", b'{"a": 3}'])))
    assert found["n_problems"] == 0
    assert found["line"].tolist() == [*range(1, 17), 18, 20]


@given(st.binary(max_size=300))
def test_any_bytes(make: Make, data: bytes) -> None:
    read(make(b"{" + data))


@given(st.text('{}[],:"\\0n1a \n', max_size=40))
def test_any_tokens(make: Make, text: str) -> None:
    read(make(b'{"a":' + text.encode()))


@given(st.lists(rows, max_size=8), st.lists(keys, max_size=4), st.none() | st.lists(keys, max_size=4))
def test_selection(make: Make, lines: list[bytes], skip: list[str], only: list[str] | None) -> None:
    found = read(make(b"\n".join(lines)), skip=skip, only=only)
    assert not set(found["fields"]) & set(skip)


@given(st.integers(0, 4096 + 200))
def test_tokens_at_any_border(make: Make, length: int) -> None:
    """Blocks of 64 and portions of 4096 bytes begin anywhere in strings, escapes and numbers."""
    filler = "x" * length
    row = (
        json.dumps({filler: [1, '\\\\\\"', -2.5, None]})[:-1]
        + r', "a\u0062": "\\\"\ud83d\ude00", "n": -12.5e3}'
    )
    found = read(make(row.encode()))
    assert texts(found, "ab") == ['\\"😀']
    assert found["fields"]["n"]["number"].tolist() == [-12500.0]


def test_kinds(make: Make) -> None:
    row = (
        b'{"a": null, "b": true, "c": -Infinity, "d": "x\\ty", "e": [1, {"f": 2}], "f": { }, "g": NaN, "h": 1e400,'
        b' "i": 123456789012345678901234567890, "j": 9007199254740993, "k": 9007199254740991, "l": "\\ud800!"}'
    )
    found = read(make(row + b'\n{"z": false}'))
    fields = found["fields"]
    assert {name: field["kind"].tolist() for name, field in fields.items()} == {
        **{
            name: [kind, 0]
            for name, kind in zip("abcdefghijkl", (1, 2, 3, 4, 5, 6, 3, 3, 3, 3, 3, 4), strict=True)
        },
        "z": [0, 2],
    }
    assert [fields[name]["number"][0] for name in "bchi"] == [
        1.0,
        -math.inf,
        math.inf,
        123456789012345678901234567890.0,
    ]
    assert math.isnan(fields["g"]["number"][0])
    assert fields["z"]["number"][1] == 0.0
    assert texts(found, "d") == ["x\ty", None]
    assert texts(found, "e") == ['[1, {"f": 2}]', None]
    assert texts(found, "f") == ["{ }", None]
    assert texts(found, "l") == ["\ufffd!", None]
    # Whole numbers that a double may not hold keep their digits: two ids never become one.
    assert texts(found, "i")[0] == "123456789012345678901234567890"
    assert texts(found, "j")[0] == "9007199254740993"
    assert fields["k"]["text"] is None


def test_the_last_of_equal_keys_counts(make: Make) -> None:
    found = read(
        make(b'{"a": "x", "b": 1, "a": 2, "a": "y"}\n{"a": 1, "\\u0061": [3]}\n{"a": "z", "a": null}')
    )
    assert found["fields"]["a"]["kind"].tolist() == [4, 5, 1]
    assert texts(found, "a") == ["y", "[3]", None]


def test_a_field_of_an_unsound_row_is_no_field(make: Make) -> None:
    found = read(make(b'{"new": 1, "a": }\n{"a": 1}\n{"late": 2, "new": 3}'))
    assert list(found["fields"]) == ["a", "late", "new"]


def test_what_is_wrong(make: Make) -> None:
    lines = [
        b'{"a": 1} x',
        b'{"a": "\xff"}',
        b"[1]",
        b'{"a": ' + b"[" * 600 + b"]" * 600 + b"}",
        b'{"a": "' + b"x" * 2000 + b'"}',
        b'{"a": "tab\there"}',
        b'{"a": 01}',
        b'{"a": 1,}',
        b'{"a": 1}',
        b'{"a": "cut he',
    ]
    found = read(make(b"\n".join([b'{"a": 0}', *lines])), max_line_bytes=2000)
    assert found["fields"]["a"]["number"].tolist() == [0.0, 1.0]
    assert found["line"].tolist() == [1, 10]
    assert reasons(found) == [
        (2, "not valid JSON (byte 10 of the row)"),
        (3, "not UTF-8 (byte 8 of the row): convert the file"),
        (4, "not a JSON object: each row must be one, {...}"),
        (5, "nested deeper than 512 levels: raise max_depth if that is right"),
        (6, "longer than 2000 bytes: raise max_line_bytes if the row is right"),
        (7, "not valid JSON (byte 11 of the row)"),
        (8, "not valid JSON (byte 7 of the row)"),
        (9, "not valid JSON (byte 9 of the row)"),
        (11, "the line ends too early: the file was cut"),
    ]
    assert found["problems"][-1][3] == '{"a": "cut he'


def test_depth_counts_the_row_itself(make: Make) -> None:
    path = make(b'{"a": [[]]}\n{"a": {"b": {}}}\n{"a": 1}')
    assert read(path, max_depth=3)["line"].tolist() == [1, 2, 3]
    assert read(path, max_depth=2)["line"].tolist() == [3]
    assert read(path, max_depth=1)["line"].tolist() == [3]


def test_arrays_end_where_they_should(make: Make) -> None:
    for content, expected in (
        (b'[{"a": 1}, {"a": 2}', [(1, "the array ends too early: the file was cut")]),
        (b'[{"a": 1},\n{"a": "', [(2, "the array ends too early: the file was cut")]),
        (b'[{"a": 1}\n\n] {}', [(3, "something follows the end of the array: it was not read")]),
        (
            b'[{"a": 1}, 2, {"a": 3}]',
            [(1, "an array of objects has something else here: the rest of the file was not read")],
        ),
        (
            b'[{"a": 1} {"a": 3}]',
            [(1, "an array of objects has something else here: the rest of the file was not read")],
        ),
        (b'[{"a": 1},\n{"a": x},\n{"a": 3}]', [(2, "not valid JSON (byte 7 of the row)")]),
    ):
        found = read(make(content))
        assert found["fields"]["a"]["number"][0] == 1.0
        assert reasons(found) == expected


def test_a_long_row_is_passed_over(make: Make) -> None:
    long = b'{"a": "' + b"x" * 3_000_000 + b'"}'
    found = read(make(b'{"a": 1}\n' + long + b'\n{"a": 2}\n' + long), max_line_bytes=1000)
    assert found["line"].tolist() == [1, 3]
    assert [line for line, _ in reasons(found)] == [2, 4]
    found = read(make(b'[{"a": 1},\n' + long + b',\n{"a": 2}]'), max_line_bytes=1000)
    assert found["line"].tolist() == [1, 3]
    assert [line for line, _ in reasons(found)] == [2]


def test_many_problems_and_many_fields(make: Make) -> None:
    found = read(make(b"x\n" * 250 + b'{"a": 1}'))
    assert (len(found["problems"]), found["n_problems"]) == (100, 250)
    lines = [json.dumps({f"k{i}": i}).encode() for i in range(1100)]
    found = read(make(b"\n".join(lines)))
    assert len(found["fields"]) == 1024
    assert found["n_problems"] == 76
    assert len(read(make(b"\n".join(lines)), only=["k1099"])["line"]) == 1100


def test_packed(make: Make) -> None:
    lines = [json.dumps({"a": i, "b": "ü" * (i % 50)}).encode() + b"\n" for i in range(5000)]
    expected = plain(read(make(b"".join(lines))))
    members = b"".join(gzip.compress(b"".join(lines[i : i + 700])) for i in range(0, 5000, 700))
    assert plain(read(make(b"\xef\xbb\xbf" + b"".join(lines)))) == expected
    assert plain(read(make(gzip.compress(b"\xef\xbb\xbf" + b"".join(lines))))) == expected
    assert plain(read(make(members))) == expected
    pa = pytest.importorskip("pyarrow")
    frames = b"".join(
        pa.compress(b"".join(lines[i : i + 700]), codec="zstd", asbytes=True) for i in range(0, 5000, 700)
    )
    assert plain(core.read_json_lines([make(frames)])) == expected


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_cut_packed_files_give_what_is_sound(make: Make, codec: str) -> None:
    pa = pytest.importorskip("pyarrow")
    rng = np.random.default_rng(1)
    lines = [json.dumps({"a": float(x)}).encode() + b"\n" for x in rng.random(20_000)]
    packed = b"".join(
        gzip.compress(part) if codec == "gzip" else pa.compress(part, codec="zstd", asbytes=True)
        for part in (b"".join(lines[:10_000]), b"".join(lines[10_000:]))
    )
    whole = core.read_json_lines([make(packed)])["fields"]["a"]["number"]
    assert len(whole) == 20_000
    for share in (0.3, 0.7, 0.99):
        found = core.read_json_lines([make(packed[: int(len(packed) * share)])])
        rows = found["fields"]["a"]["number"] if found["fields"] else whole[:0]
        np.testing.assert_array_equal(rows, whole[: len(rows)])
        assert len(rows) > 20_000 * share - 10_000
        assert reasons(found) == [(0, "the compressed data are damaged or cut: rows up to there were kept")]


def test_empty_blank_and_missing_files(make: Make) -> None:
    for content in (b"", b"\n\n \r\n", b"\xef\xbb\xbf", b"[]", b" [ \n ] "):
        found = read(make(content))
        assert (len(found["line"]), found["fields"], found["n_problems"]) == (0, {}, 0)
    assert reasons(read(Path("nowhere.jsonl"))) == [(0, "the file cannot be read: No such file or directory")]
    assert read([])["n_problems"] == 0


def test_rows_are_in_file_order(make: Make) -> None:
    paths = [
        make(
            b"".join(json.dumps({f"f{i % 5}": i, "n": str(n)}).encode() + b"\n" for n in range(i)),
            f"{i}.jsonl",
        )
        for i in range(40)
    ]
    expected = plain(read(paths))
    for threads in (1, 2, 5):
        assert plain(core.read_json_lines(paths, threads=threads)) == expected


def test_reading_stops_when_it_is_told_to(make: Make) -> None:
    path = make(b'{"a": [1, 2, 3]}\n' * 400_000, "long.jsonl")
    asked = []

    def stop() -> bool:
        asked.append(1)
        return True

    with pytest.raises(KeyboardInterrupt):
        core.read_json_lines([path] * 200, stop=stop)
    assert asked
    assert len(core.read_json_lines([path], stop=lambda: False)["line"]) == 400_000


def test_options_out_of_range(make: Make) -> None:
    path = make(b"{}")
    for module in (core, reference):
        with pytest.raises(OptionError, match="max_depth must be"):
            module.read_json_lines([path], max_depth=0)
        with pytest.raises(OptionError, match="max_line_bytes must be"):
            module.read_json_lines([path], max_line_bytes=1 << 32)


def test_every_dump(shared: Path) -> None:
    dumps = shared / "data/dumps"
    paths = sorted([*dumps.glob("lm_eval/**/*.jsonl"), *dumps.glob("olmes_handmade/**/*.jsonl")])
    assert len(paths) > 50
    assert read(paths)["n_problems"] == 0
    assert len(read(paths, skip=["doc", "arguments", "resps"])["line"]) > 3000


def test_odd_fields_are_kept_where_they_name_nan_or_infinity(tmp_path):
    texts = [
        '[["-1.5", "True"]]',
        '[["-Inf", "True"]]',
        '"a nano metre"',
        '"a n a n"',
        "NaN",
        "1",
        "[[NaN, 0]]",
    ]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(f'{{"doc_id": {at}, "resps": {text}}}\n' for at, text in enumerate(texts)))
    for module in (core, reference):
        found = module.read_json_lines([str(path)], odd=["resps"])["fields"]["resps"]
        assert found["kind"].tolist() == [0, 5, 4, 0, 0, 0, 5]
        assert (
            [text for text in list(found["text"]) if text is not None]
            == ['[["-Inf", "True"]]', "a nano metre", "[[NaN, 0]]"]
            if module is reference
            else True
        )
