"""Sources that are URLs, against an S3-compatible server and a web server on loopback."""

from __future__ import annotations

import http.server
import json
import logging
import socketserver
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from signoise import scan_scores
from signoise._errors import ReadError
from signoise._readers import _remote, read
from signoise._readers._report import ReadReport

ODD = "runs/a|b:c=d,é ü/long.csv"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    pytest.importorskip("obstore", reason="obstore is not installed (pip install 'signoise[remote]')")
    server_of = pytest.importorskip(
        "moto.server", reason="moto and flask are not installed"
    ).ThreadedMotoServer
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_of(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, shared: Path) -> str:
    """A bucket with a dump of each kind, a file that is no result, and an odd name."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3  # comes with moto

    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    try:
        client.head_bucket(Bucket="bucket")
    except client.exceptions.ClientError:
        client.create_bucket(Bucket="bucket")
        dumps = shared / "data/dumps"
        for name in ("long.csv", "long.parquet", "wide.csv"):
            client.put_object(
                Bucket="bucket", Key=f"tables/{name}", Body=(dumps / "tables" / name).read_bytes()
            )
        for path in sorted((dumps / "lm_eval/v0.4.8").rglob("results_*.json")):
            key = f"runs/lm/{path.relative_to(dumps / 'lm_eval/v0.4.8').as_posix()}"
            client.put_object(Bucket="bucket", Key=key, Body=path.read_bytes())
        client.put_object(Bucket="bucket", Key="runs/lm/model.safetensors", Body=b"weights")
        client.put_object(Bucket="bucket", Key="runs/lm/empty/", Body=b"")  # how some tools mark a folder
        client.put_object(Bucket="bucket", Key="runs/lm/.cache/x.json", Body=b"{}")
        client.put_object(Bucket="bucket", Key=ODD, Body=(dumps / "tables/long.csv").read_bytes())
    finally:
        client.close()
    return "s3://bucket"


def sources(frame: pl.LazyFrame) -> list[str]:
    return sorted(frame.select(pl.col("source").unique()).collect().to_series())


def same(frame: pl.LazyFrame, other: pl.LazyFrame) -> None:
    columns = ["run", "step", "task", "metric", "value"]
    left, right = (f.select(columns).collect().sort(columns) for f in (frame, other))
    assert_frame_equal(left, right)


# --- S3


def test_a_folder_a_file_and_a_glob(bucket: str, shared: Path) -> None:
    dumps = shared / "data/dumps"
    local = dumps / "lm_eval/v0.4.8"
    expected, _ = read(sorted(local.rglob("results_*.json")))
    found, report = read(f"{bucket}/runs/lm")
    same(found, expected)
    assert sources(found) == sorted(
        path.relative_to(local).as_posix() for path in local.rglob("results_*.json")
    )
    assert report.ignored == {".safetensors file{s}": ["model.safetensors"]}
    found, _ = read(f"{bucket}/runs/*/**/results_*.json")
    same(found, expected)
    found, _ = read(f"{bucket}/tables/long.csv")
    same(found, scan_scores(dumps / "tables/long.csv"))
    assert sources(found) == ["long.csv"]


def test_names_with_odd_letters(bucket: str, shared: Path) -> None:
    found, _ = read(f"{bucket}/runs/a*/")
    assert sources(found) == ["a|b:c=d,é ü/long.csv"]
    found, _ = read(f"{bucket}/{ODD}")
    same(found, scan_scores(shared / "data/dumps/tables/long.csv"))


def test_several_sources_are_told_apart(bucket: str, shared: Path) -> None:
    found, _ = read([f"{bucket}/tables/long.csv", f"{bucket}/{ODD}"])
    assert sources(found) == ["runs/a|b:c=d,é ü/long.csv", "tables/long.csv"]
    found, _ = read([f"{bucket}/tables/long.csv", str(shared / "data/dumps/tables/wide.csv")])
    assert sources(found) == ["s3://bucket/tables/long.csv", "wide.csv"]


def test_large_tables_stay_where_they_are(bucket: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_remote, "IN_PLACE_BYTES", 1000)
    place = _remote.localise(f"{bucket}/tables/*.parquet", ReadReport())
    assert place.files == []
    assert [table.label for table in place.tables] == ["long.parquet"]
    found, report = read(f"{bucket}/tables/long.parquet")
    same(found, scan_scores(shared / "data/dumps/tables/long.parquet"))
    assert report.files == {"table": 1}
    place = _remote.localise(f"{bucket}/tables/*.parquet", ReadReport(), in_place=False)
    assert len(place.files) == 1
    assert place.tables == []


def test_what_was_fetched_is_deleted(bucket: str) -> None:
    with _remote.localise(f"{bucket}/tables", ReadReport()) as place:
        paths = [file.path for file in place.files]
        assert len(paths) == 3
        assert all(path.is_file() for path in paths)
        assert paths[0].parts[-4:] == ("s3", "bucket", "tables", "long.csv")
    assert not any(path.exists() for path in paths)


def test_too_much_is_refused(bucket: str) -> None:
    with pytest.raises(ReadError, match="at most 1000 are fetched"):
        _remote.localise(f"{bucket}/tables", ReadReport(), max_bytes=1000)


@pytest.mark.parametrize(
    ("path", "message"),
    [("nothing/here", "no such file or folder"), ("tables/*.arrow", "matches this glob")],
)
def test_nothing_there(bucket: str, path: str, message: str) -> None:
    with pytest.raises(ReadError, match=message):
        _remote.localise(f"{bucket}/{path}", ReadReport())


def test_an_unreachable_bucket_names_the_settings(bucket: str) -> None:
    with pytest.raises(ReadError, match="check AWS_ACCESS_KEY_ID"):
        _remote.localise("s3://no-such-bucket/x/", ReadReport())


def test_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(ReadError, match=r"pip install 'signoise\[remote\]'"):
        _remote.localise("s3://bucket/x", ReadReport())


def test_pathlib_urls_are_refused() -> None:
    with pytest.raises(ReadError, match="give it as text"):
        _remote.localise(Path("s3://bucket/x"), ReadReport())


# --- HTTP and the Hub


class Web(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves the files of `pages`; counts requests and remembers who sent a token."""

    daemon_threads = True
    pages: dict[str, bytes]
    seen: list[tuple[str, str | None]]
    failures: dict[str, int]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        path = urllib.parse.unquote(self.path)
        self.server.seen.append((path, self.headers.get("Authorization")))
        if self.server.failures.get(path, 0) > 0:
            self.server.failures[path] -= 1
            self.send_error(503)
        elif path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
        elif (
            body := self.server.pages.get(path.partition("?")[0] if "tree" not in path else path)
        ) is not None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + (10 if "cut" in path else 0)))
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 12:00:00 GMT")
            self.send_header("ETag", '"1"')
            if "page1" in path:
                own = f"http://127.0.0.1:{self.server.server_address[1]}"
                self.send_header("Link", f'<{own}{path.replace("page1", "page2")}>; rel="next"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def web(shared: Path) -> Iterator[tuple[Web, str]]:
    server = Web(("127.0.0.1", 0), Handler)
    server.pages, server.seen, server.failures = {}, [], {}
    server.pages["/a b/long.csv"] = (shared / "data/dumps/tables/long.csv").read_bytes()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_remote.time, "sleep", lambda _: None)


def test_a_file_by_http(web: tuple[Web, str], shared: Path) -> None:
    server, url = web
    server.failures["/a b/long.csv?x=1"] = 2  # two answers of "try again" are no problem
    found, report = read(f"{url}/a b/long.csv?x=1", strict=True)
    same(found, scan_scores(shared / "data/dumps/tables/long.csv"))
    assert sources(found) == ["long.csv"]
    assert report.skipped == []
    assert len(server.seen) == 3


def test_failures_by_http(web: tuple[Web, str]) -> None:
    server, url = web
    server.pages["/cut.csv"] = b"model,step,task,value\nm,1,t,0.5\n"
    report = ReadReport()
    place = _remote.localise([f"{url}/gone.csv", f"{url}/cut.csv", f"{url}/a b/long.csv"], report)
    assert [file.label for file in place.files] == ["a b/long.csv"]
    reasons = dict(report.skipped)
    assert "404" in reasons["gone.csv"]
    assert "bytes" in reasons["cut.csv"]
    with pytest.raises(ReadError, match="404"):
        read(f"{url}/gone.csv", strict=True)
    with pytest.raises(ReadError, match="HTTP has no folders"):
        _remote.localise(f"{url}/a b/", ReadReport())
    with pytest.raises(ReadError, match="404"):
        read(f"{url}/gone.csv")
    report = ReadReport()
    assert _remote.localise(f"{url}/a b/long.csv", report, max_bytes=100).files == []
    assert "more than 100 bytes" in report.skipped[0][1]


def hub(server: Web, url: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HF_TOKEN", "secret")
    table = (shared / "data/dumps/tables/long.csv").read_bytes()
    items = [
        {"type": "directory", "path": "data", "size": 0},
        {"type": "file", "path": "data/long.csv", "size": len(table)},
        {"type": "file", "path": "data/deep/readme.md", "size": 3},
    ]
    tree = "/api/datasets/org/name/tree/v1/data?recursive="
    server.pages[f"{tree}true"] = json.dumps(items).encode()
    server.pages[f"{tree}false"] = json.dumps(items[:2]).encode()
    server.pages["/api/datasets/org/name/tree/v1?recursive=false"] = json.dumps(items[:1]).encode()
    server.pages["/datasets/org/name/resolve/v1/data/long.csv"] = table


@pytest.mark.parametrize("path", ["data", "data/", "data/long.csv", "data/*.csv"])
def test_the_hub(web: tuple[Web, str], shared: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    server, url = web
    hub(server, url, shared, monkeypatch)
    found, _ = read(f"hf://datasets/org/name@v1/{path}")
    same(found, scan_scores(shared / "data/dumps/tables/long.csv"))
    assert sources(found) == ["long.csv"]
    assert {token for _, token in server.seen} == {"Bearer secret"}


def test_the_token_does_not_follow_redirects(web: tuple[Web, str]) -> None:
    server, url = web
    assert b"".join(_remote._http_blocks(f"{url}/moved/a b/long.csv", "secret"))
    assert server.seen == [("/moved/a b/long.csv", "Bearer secret"), ("/a b/long.csv", None)]


def test_listings_of_several_pages(web: tuple[Web, str], monkeypatch: pytest.MonkeyPatch) -> None:
    server, url = web
    monkeypatch.setenv("HF_ENDPOINT", url)
    for page in (1, 2):
        item = {"type": "file", "path": f"page{page}/a.csv", "size": 1}
        server.pages[f"/api/models/org/m/tree/main/page{page}?recursive=true"] = json.dumps([item]).encode()
    store, path = _remote._open("hf://org/m/page1", {})
    assert list(store.list(path)) == [("page1/a.csv", 1), ("page2/a.csv", 1)]


def test_a_repository_that_is_not_there(web: tuple[Web, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", web[1])
    with pytest.raises(ReadError, match="HF_TOKEN if it is private"):
        _remote.localise("hf://datasets/org/gone", ReadReport())
    with pytest.raises(ReadError, match="hf://datasets/ORGANISATION/NAME"):
        _remote.localise("hf://datasets/org", ReadReport())


def test_google_cloud_storage(web: tuple[Web, str], shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed (pip install 'signoise[remote]')")
    server, url = web
    key = {
        "gcs_base_url": url,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(key))
    monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
    body = (shared / "data/dumps/tables/long.csv").read_bytes()
    server.pages["/bucket/runs/a|b/long.csv"] = body
    listed = f"<Key>runs/a|b/long.csv</Key><Size>{len(body)}</Size><LastModified>2026-01-01T12:00:00Z</LastModified>"
    server.pages["/bucket"] = f"<ListBucketResult><Contents>{listed}</Contents></ListBucketResult>".encode()
    for path in ("runs", "runs/*/*.csv", "runs/a|b/long.csv"):
        found, _ = read(f"gs://bucket/{path}")
        same(found, scan_scores(shared / "data/dumps/tables/long.csv"))


def test_an_interrupt_stops_what_is_under_way(web: tuple[Web, str], monkeypatch: pytest.MonkeyPatch) -> None:
    server, url = web
    blocks = []

    def endless(_: str, __: str | None = None) -> Iterator[bytes]:
        while True:
            blocks.append(len(blocks))
            yield b"x"

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    server.pages["/a.csv"] = b"a"
    before = set(Path(_remote.tempfile.gettempdir()).glob("signoise-*"))
    real = _remote._http_blocks
    monkeypatch.setattr(
        _remote, "_http_blocks", lambda u, t=None: endless(u) if "endless" in u else real(u, t)
    )
    with pytest.raises(KeyboardInterrupt):
        _remote.localise([f"{url}/a.csv", f"{url}/endless.csv"], ReadReport(), progress=interrupt)
    assert set(Path(_remote.tempfile.gettempdir()).glob("signoise-*")) <= before


# --- names


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a/*.json", ["a/b.json", "a/b.json/c"], ["a/b/c.json", "x/a/b.json"]),
        ("a/**/r_*.json", ["a/r_1.json", "a/b/c/r_1.json"], ["a/b/x.json"]),
        ("a/**", ["a/b", "a/b/c"], ["b/c"]),
        ("a/b?[0-9].csv", ["a/bx1.csv"], ["a/b1.csv", "a/bxx.csv"]),
        ("a/[!b]*/", ["a/c/d.csv"], ["a/b/d.csv"]),
    ],
)
def test_globs(pattern: str, yes: list[str], no: list[str]) -> None:
    matches = _remote._glob(pattern)
    assert [key for key in yes if not matches(key)] == []
    assert [key for key in no if matches(key)] == []


def test_names_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    entry = _remote._Entry("../../x.csv", 1, "s3://bucket/../../x.csv", "x.csv", explicit=False)
    assert _remote._fetch(entry, None, tmp_path, 10, threading.Event()) == (
        None,
        "its name leads out of its folder; rename it",
    )  # type: ignore[arg-type]
