"""Fetching a benchmark from a server on this machine that can break off, lie or be gone."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from filelock import FileLock, Timeout

from bias_bench.data import download, registry
from bias_bench.data.download import fetch_benchmark
from bias_bench.data.registry import BenchmarkSpec, check_files
from bias_bench.errors import DataError, UsageError

NAME = "fake-r"
SIZE = 300_000
CUT = 200_000
FILES = {
    f"{language}.json": random.Random(language).randbytes(SIZE)  # noqa: S311
    for language in ("de", "en")
}


class Request(NamedTuple):
    """What a client asked for, and the status it got."""

    file: str
    range: str | None
    status: int


class Server(ThreadingHTTPServer):
    """Serves `files` and records requests; `cuts` are the lengths after which it breaks off."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.requests: list[Request] = []
        self.cuts: list[int] = []
        self.ranges = True
        self.status: int | None = None
        self.hold: threading.Event | None = None  # what answers wait for

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data/"

    def ranges_of(self, file: str) -> list[str | None]:
        return [request.range for request in self.requests if request.file == file]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        file = self.path.rsplit("/", 1)[1]
        asked = self.headers.get("Range")
        data = self.server.files[file]
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.server.ranges else 0
        status = self.server.status or (206 if start else 200)
        if start >= len(data):
            status = 416
        self.server.requests.append(Request(file, asked, status))
        body = data[start:] if status in (200, 206) else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        sent = body[: self.server.cuts.pop(0)] if self.server.cuts else body
        self.wfile.write(sent[:1000])
        if self.server.hold:
            self.server.hold.wait(60)
        self.wfile.write(sent[1000:])
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _fake_benchmark(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry knows one benchmark, on the server; failed attempts repeat without a pause."""
    spec = BenchmarkSpec(
        title="fake",
        licence="none",
        licence_url="http://127.0.0.1/",
        terms="none",
        base_url=server.url,
        citation="",
        files={
            name.removesuffix(".json"): {
                "bytes": len(data),
                "queries": 1,
                "candidates": 1,
                "sha256": hashlib.sha256(data).hexdigest(),
            }
            for name, data in FILES.items()
        },
    )
    embedded = spec.model_copy(update={"base_url": None})
    monkeypatch.setattr(registry, "benchmarks", lambda: {NAME: spec, "embedded": embedded})
    monkeypatch.setattr(download, "sleep", lambda _: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the files go; absent at first."""
    return tmp_path / NAME


@pytest.fixture
def nowhere() -> str:
    """The address of a server that has just gone."""
    with Server() as gone:
        return gone.url


def fetch(folder: Path) -> Path:
    return fetch_benchmark(NAME, folder.parent)


def failure(folder: Path) -> str:
    """The message of the DataError that a fetch ends in; always one line."""
    with pytest.raises(DataError) as caught:
        fetch(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_complete(folder: Path) -> None:
    """All files are in place and intact, and nothing else is left beside them."""
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert [check.problem for check in check_files(NAME, folder.parent)] == [None, None]


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, for a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_fetch_puts_every_file_in_place(server: Server, folder: Path) -> None:
    assert fetch(folder) == folder
    assert_complete(folder)
    assert sorted(server.requests) == [Request("de.json", None, 200), Request("en.json", None, 200)]


def test_fetched_files_can_be_read_by_others(server: Server, folder: Path) -> None:
    """A temporary file's private mode must not stay on a shared data folder."""
    fetch(folder)
    plain = put(folder.parent / "plain", b"")
    assert len(server.requests) == 2
    assert {path.stat().st_mode for path in folder.iterdir()} == {plain.stat().st_mode}


def test_nothing_is_downloaded_when_all_is_intact(server: Server, folder: Path) -> None:
    for name, data in FILES.items():
        put(folder / name, data)
    assert fetch(folder) == folder
    assert server.requests == []


@pytest.mark.parametrize("damage", [b"", FILES["de.json"][:-1], b"x" * SIZE])
def test_only_the_damaged_file_is_fetched_again(
    server: Server, folder: Path, damage: bytes
) -> None:
    put(folder / "en.json", FILES["en.json"])
    put(folder / "de.json", damage)
    fetch(folder)
    assert_complete(folder)
    assert server.requests == [Request("de.json", None, 200)]


@pytest.mark.parametrize("have", [1, 65_536, SIZE - 1])
def test_a_partial_file_is_resumed_where_it_ends(server: Server, folder: Path, have: int) -> None:
    put(folder / "de.json.part", FILES["de.json"][:have])
    fetch(folder)
    assert_complete(folder)
    assert sorted(server.requests) == [
        Request("de.json", f"bytes={have}-", 206),
        Request("en.json", None, 200),
    ]


def test_a_broken_connection_is_resumed_within_the_same_fetch(server: Server, folder: Path) -> None:
    server.cuts = [CUT]
    fetch(folder)
    assert_complete(folder)
    first, second = server.ranges_of(server.requests[0].file)
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= CUT


def test_what_was_fetched_before_breaking_off_is_kept_for_the_next_call(
    server: Server, folder: Path
) -> None:
    server.cuts = [CUT, 0]
    assert "cannot be fetched" in failure(folder)
    (partial,) = folder.iterdir()
    file = partial.name.removesuffix(".part")
    kept = partial.read_bytes()
    assert partial.name == f"{file}.part"
    assert kept
    assert FILES[file].startswith(kept)
    server.requests.clear()
    fetch(folder)
    assert_complete(folder)
    assert server.ranges_of(file) == [f"bytes={len(kept)}-"]


def test_files_finished_before_a_failure_are_not_fetched_again(
    server: Server, folder: Path
) -> None:
    server.cuts = [SIZE, 0, 0]
    failure(folder)
    finished = server.requests[0].file
    assert (folder / finished).read_bytes() == FILES[finished]
    server.requests.clear()
    fetch(folder)
    assert_complete(folder)
    assert server.ranges_of(finished) == []


def test_a_server_without_ranges_sends_all_again_and_nothing_is_doubled(
    server: Server, folder: Path
) -> None:
    server.ranges = False
    put(folder / "de.json.part", FILES["de.json"][:1000])
    fetch(folder)
    assert_complete(folder)
    assert sorted(server.requests, key=lambda request: request.file) == [
        Request("de.json", "bytes=1000-", 200),
        Request("en.json", None, 200),
    ]


@pytest.mark.parametrize("extra", [b"", b"more"], ids=["complete", "too long"])
def test_a_partial_file_with_nothing_left_to_ask_for_starts_afresh(
    server: Server, folder: Path, extra: bytes
) -> None:
    put(folder / "de.json.part", FILES["de.json"] + extra)
    fetch(folder)
    assert_complete(folder)
    assert server.ranges_of("de.json")[-1] is None


def test_a_partial_file_of_other_content_is_dropped_and_fetched_afresh(
    server: Server, folder: Path
) -> None:
    put(folder / "de.json.part", b"x" * 1000)
    fetch(folder)
    assert_complete(folder)
    assert server.ranges_of("de.json") == ["bytes=1000-", None]


def test_a_wrong_checksum_is_a_data_error_and_nothing_is_kept(server: Server, folder: Path) -> None:
    server.files = dict.fromkeys(FILES, b"x" * SIZE)
    message = failure(folder)
    assert message.startswith(server.url)
    assert "another checksum than recorded" in message
    assert list(folder.iterdir()) == []
    server.files = dict(FILES)
    server.requests.clear()
    fetch(folder)
    assert_complete(folder)
    assert {request.range for request in server.requests} == {None}


def test_a_wrong_checksum_leaves_the_file_that_was_there(server: Server, folder: Path) -> None:
    put(folder / "en.json", FILES["en.json"])
    put(folder / "de.json", b"older version")
    server.files["de.json"] = b"x" * SIZE
    failure(folder)
    assert (folder / "de.json").read_bytes() == b"older version"
    assert sorted(path.name for path in folder.iterdir()) == ["de.json", "en.json"]


@pytest.mark.parametrize("status", [404, 500, 503])
def test_an_http_error_is_one_line_and_keeps_the_partial_file(
    server: Server, folder: Path, status: int
) -> None:
    for name, data in FILES.items():
        put(folder / f"{name}.part", data[:1000])
    server.status = status
    message = failure(folder)
    assert message.startswith(f"{server.url}{server.requests[0].file}: cannot be fetched")
    assert {path.name for path in folder.iterdir()} == {f"{name}.part" for name in FILES}
    assert {path.stat().st_size for path in folder.iterdir()} == {1000}
    server.status = None
    fetch(folder)
    assert_complete(folder)


def test_a_server_that_is_gone_is_one_line_with_the_mend(folder: Path, nowhere: str) -> None:
    with pytest.raises(DataError) as caught:
        fetch_benchmark(NAME, folder.parent, base_url=nowhere)
    assert re.fullmatch(
        re.escape(nowhere) + r"(de|en)\.json: cannot be fetched \(ConnectionError\); "
        r"check the network and run the same command again, .*--data-dir.*",
        str(caught.value),
    )
    assert [path.name for path in folder.rglob("*")] == []


def test_another_address_can_be_given(
    server: Server, folder: Path, nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = registry.benchmarks()
    gone = known[NAME].model_copy(update={"base_url": nowhere})
    monkeypatch.setattr(registry, "benchmarks", lambda: {NAME: gone})
    fetch_benchmark(NAME, folder.parent, base_url=server.url)
    assert_complete(folder)


def test_a_file_in_place_of_the_folder_is_one_line_about_storing(
    server: Server, folder: Path
) -> None:
    put(folder, b"not a folder")
    message = failure(folder)
    assert message.startswith(f"{folder}: cannot store ")
    assert "(None)" not in message
    assert server.requests == []


def test_a_folder_without_permission_is_one_line_with_the_reason(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    folder.parent.mkdir(exist_ok=True)
    monkeypatch.setattr(download, "waiting_lock", lambda *_: nullcontext())
    monkeypatch.setattr(Path, "mkdir", refuse)
    message = failure(folder)
    assert message.startswith(f"{folder}: cannot store ")
    assert "(None)" not in message


_FETCH = """
import sys
from pathlib import Path
from bias_bench.data import download, registry
from bias_bench.data.registry import BenchmarkSpec
from bias_bench.system.console import show_progress
show_progress()
spec = BenchmarkSpec.model_validate_json(sys.argv[1])
registry.benchmarks = lambda: {"fake-r": spec}
download.fetch_benchmark("fake-r", Path(sys.argv[2]))
"""


def started_fetch(folder: Path) -> subprocess.Popen[str]:
    """A process of its own that fetches the benchmark."""
    spec = registry.benchmarks()[NAME].model_dump_json()
    command = [sys.executable, "-c", _FETCH, spec, str(folder.parent)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_of_two_processes_the_second_waits_and_uses_what_the_first_fetched(
    server: Server, folder: Path
) -> None:
    server.hold = threading.Event()
    with started_fetch(folder) as first:
        until(lambda: bool(server.requests))
        with started_fetch(folder) as second:
            assert second.stderr is not None
            line = second.stderr.readline()  # the first is in the middle of a file
            server.hold.set()
            assert first.wait(60) == 0
            assert second.wait(60) == 0
            rest = second.stderr.read()
    assert line == f"fetch {NAME}: another process is at work on it; waiting until it is done\n"
    assert rest == ""
    assert_complete(folder)
    assert sorted(server.requests) == [Request("de.json", None, 200), Request("en.json", None, 200)]


def test_a_process_that_is_killed_lets_the_next_one_go_on(server: Server, folder: Path) -> None:
    server.hold = threading.Event()
    with started_fetch(folder) as first:
        until(lambda: bool(list(folder.glob("*.part"))))
        first.kill()
    server.hold.set()
    with started_fetch(folder) as second:
        assert second.wait(60) == 0
    assert_complete(folder)


def test_a_reader_of_a_package_fetches_in_one_process_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = []

    def fetch_files(target: Path, _: list[str] | None) -> None:
        lock = FileLock(target.with_name(f".{NAME}.lock"))
        with pytest.raises(Timeout):
            lock.acquire(timeout=0)
        inside.append(target)

    reader = SimpleNamespace(fetch=fetch_files)
    spec = registry.benchmarks()[NAME].model_copy(update={"reader": reader})
    monkeypatch.setattr(registry, "benchmarks", lambda: {NAME: spec})
    assert fetch(folder) == folder
    assert inside == [folder]


def test_whole_files_that_cannot_be_written_need_no_lock(folder: Path) -> None:
    for name, data in FILES.items():
        put(folder / name, data)
    before = sorted(folder.parent.iterdir())
    fetch(folder)
    assert sorted(folder.parent.iterdir()) == before


def test_an_embedded_benchmark_is_never_downloaded(server: Server, tmp_path: Path) -> None:
    assert fetch_benchmark("embedded", tmp_path) == registry.data_folder("embedded", None)
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_benchmark_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{NAME}'"):
        fetch_benchmark("fake", tmp_path)
    assert list(tmp_path.iterdir()) == []
