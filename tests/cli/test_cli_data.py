"""`biasbench data`: results on stdout, one line per error on stderr, exit codes."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path

import pytest

from bias_bench.data import registry
from bias_bench.data.registry import BenchmarkSpec, benchmarks, data_folder
from tests.support.command_line import Command, Outcome

MINI = data_folder("mini", None)
KNOWN = ("belebele", "mini", "miracl", "miracl-judged", "mlqa-r", "xquad-r")


def assert_one_line_error(outcome: Outcome, code: int, message: str) -> None:
    """Exactly one line on stderr, nothing on stdout, and the exit code."""
    assert outcome.code == code
    assert outcome.out == ""
    assert re.fullmatch(r"biasbench: error: \S.*\n", outcome.err)
    assert message in outcome.err


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with `copy`, a benchmark that is downloaded, with the files of mini.

    Its server is gone: a port that was free a moment ago.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    known = {
        **benchmarks(),
        "copy": benchmarks()["mini"].model_copy(
            update={"base_url": f"http://127.0.0.1:{port}/", "terms": "Terms of use."}
        ),
    }
    monkeypatch.setattr(registry, "benchmarks", lambda: known)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    shutil.copytree(MINI, tmp_path / "copy")
    return tmp_path


# --- list -------------------------------------------------------------------------------------


def test_list_names_every_benchmark_with_size_licence_and_state(
    biasbench: Command, tmp_path: Path
) -> None:
    listed = biasbench("data", "list", "--data-dir", tmp_path)
    assert (listed.code, listed.err) == (0, "")
    entries = re.findall(r"^(\S+): (.+)\n  (.+)$", listed.out, flags=re.MULTILINE)
    assert tuple(name for name, _, _ in entries) == KNOWN
    for name, title, details in entries:
        assert title == benchmarks()[name].title
        languages = list(benchmarks()[name].contents)
        shown = languages if len(languages) <= 20 else [*languages[:3], "…", languages[-1]]
        assert f"{len(languages)} languages ({' '.join(shown)})" in details
        assert benchmarks()[name].licence in details
    assert "13,090 queries, 13,014 candidates" in listed.out
    assert "4,199 queries, 20,534 candidates" in listed.out


def test_list_as_json_is_one_document_with_the_same_facts(
    biasbench: Command, tmp_path: Path
) -> None:
    listed = biasbench("data", "list", "--data-dir", tmp_path, "--format", "json")
    assert (listed.code, listed.err) == (0, "")
    rows = {row["name"]: row for row in json.loads(listed.out)["benchmarks"]}
    assert tuple(rows) == KNOWN
    assert rows["mini"]["state"] == "ready"
    assert rows["mlqa-r"] == {
        "name": "mlqa-r",
        "title": benchmarks()["mlqa-r"].title,
        "languages": ["ar", "de", "en", "es", "hi", "vi", "zh"],
        "queries": 4199,
        "candidates": 20534,
        "licence": "CC BY-NC 4.0",
        "state": "not here",
        "note": None,
    }


@pytest.mark.parametrize(
    ("missing", "truncated", "state"),
    [
        ([], [], "ready"),
        (["en"], [], "1 of 11 files missing"),
        (["en", "de"], [], "2 of 11 files missing"),
        ([], ["en"], "1 files missing or damaged"),
        (["de"], ["en"], "2 files missing or damaged"),
    ],
)
def test_list_tells_missing_files_from_damaged_ones(
    biasbench: Command, copy: Path, missing: list[str], truncated: list[str], state: str
) -> None:
    for language in missing:
        (copy / "copy" / f"{language}.json").unlink()
    for language in truncated:
        (copy / "copy" / f"{language}.json").write_bytes(b"{")
    listed = biasbench("data", "list", "--data-dir", copy, "--format", "json")
    rows = json.loads(listed.out)["benchmarks"]
    assert [row["state"] for row in rows if row["name"] == "copy"] == [state]


# --- verify -----------------------------------------------------------------------------------


def test_verify_of_an_intact_benchmark_says_ok_for_every_file(biasbench: Command) -> None:
    verified = biasbench("data", "verify", "mini")
    assert (verified.code, verified.err) == (0, "")
    assert verified.out.splitlines() == [
        f"{MINI / language}.json: ok" for language in benchmarks()["mini"].files
    ]


@pytest.mark.parametrize("name", ["xquad-r", "mlqa-r"])
def test_verify_of_the_published_files_passes(
    biasbench: Command, data_dir: Path, name: str
) -> None:
    verified = biasbench("data", "verify", name, "--data-dir", data_dir)
    assert (verified.code, verified.err) == (0, "")
    assert len(verified.out.splitlines()) == len(benchmarks()[name].files)


def test_verify_names_every_bad_file_and_exits_with_3(biasbench: Command, copy: Path) -> None:
    missing, flipped = copy / "copy" / "de.json", copy / "copy" / "en.json"
    missing.unlink()
    data = flipped.read_bytes()
    flipped.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    verified = biasbench("data", "verify", "copy", "--data-dir", copy)
    lines = verified.out.splitlines()
    assert verified.code == 3
    assert f"{missing}: missing" in lines
    assert any(line.startswith(f"{flipped}: damaged: sha256 ") for line in lines)
    assert sum(line.endswith(": ok") for line in lines) == 9
    assert_one_line_error(
        verified._replace(out=""),
        3,
        "copy: 2 of 11 files missing or damaged (de.json, en.json); run `biasbench data fetch copy",
    )


def test_the_fix_of_verify_mends_the_folder_that_was_verified(
    biasbench: Command, copy: Path
) -> None:
    (copy / "copy" / "de.json").unlink()
    verified = biasbench("data", "verify", "copy", "--data-dir", copy)
    assert f"`biasbench data fetch copy --data-dir {copy}`" in verified.err


def test_the_fix_of_a_damaged_embedded_benchmark_is_to_reinstall(
    biasbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "benchmarks", lambda: {"gone": benchmarks()["mini"]})
    verified = biasbench("data", "verify", "gone")
    assert verified.code == 3
    assert "reinstall biasbench" in verified.err


# --- cite -------------------------------------------------------------------------------------


def bibtex(text: str) -> dict[str, dict[str, str]]:
    """A strict reader of BibTeX: entries by key, fields by name; all text must be read."""
    entries: dict[str, dict[str, str]] = {}
    rest = text.strip()
    while rest:
        head = re.match(r"@(\w+)\{([\w-]+),\s*", rest)
        assert head, f"no entry begins here: {rest[:60]!r}"
        kind, key = head.groups()
        rest, fields = rest[head.end() :], {"type": kind}
        while not rest.startswith("}"):
            name = re.match(r"(\w+)\s*=\s*(?=\{)", rest)
            assert name, f"no field begins here: {rest[:60]!r}"
            assert name[1] not in fields
            value = braced(rest[name.end() :])
            fields[name[1]] = value
            tail = rest[name.end() + len(value) + 2 :]
            comma = re.match(r",\s*|\s*(?=\})", tail)
            assert comma, f"no comma or end here: {tail[:60]!r}"
            rest = tail[comma.end() :]
        assert key not in entries
        entries[key] = fields
        rest = rest[1:].lstrip()
    return entries


def braced(text: str) -> str:
    """What stands between the brace that `text` begins with and the one that closes it."""
    depth = 0
    for index, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return text[1:index]
    raise AssertionError(f"unbalanced braces: {text[:60]!r}")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("xquad-r", ["roy-etal-2020-lareqa", "artetxe-etal-2020-cross"]),
        ("mlqa-r", ["roy-etal-2020-lareqa", "lewis-etal-2020-mlqa"]),
        ("mini", ["biasbench-mini"]),
    ],
)
def test_cite_prints_valid_bibtex_and_nothing_else(
    biasbench: Command, name: str, keys: list[str]
) -> None:
    cited = biasbench("data", "cite", name)
    assert (cited.code, cited.err) == (0, "")
    entries = bibtex(cited.out)
    assert list(entries) == keys
    for entry in entries.values():
        assert entry["title"]
        if entry["type"] == "inproceedings":
            assert re.fullmatch(r"\d{4}", entry["year"])
            assert all(", " in author for author in entry["author"].split(" and "))
            assert entry["booktitle"]


@pytest.mark.parametrize(
    "broken",
    ["no entry", "@misc{key, title = {open", "@misc{key, title = {a} year = {b}}", "@misc{, }"],
)
def test_the_reader_of_bibtex_refuses_what_is_broken(broken: str) -> None:
    with pytest.raises(AssertionError):
        bibtex(broken)


# --- fetch ------------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection fails the test at once."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_fetch_of_the_embedded_benchmark_prints_its_folder_without_network(
    biasbench: Command,
) -> None:
    fetched = biasbench("data", "fetch", "mini")
    assert fetched == (0, f"{MINI}\n", "")


@pytest.mark.usefixtures("no_network")
def test_fetch_of_intact_files_prints_their_folder_without_network(
    biasbench: Command, copy: Path
) -> None:
    fetched = biasbench("data", "fetch", "copy", "--data-dir", copy)
    assert fetched == (0, f"{copy / 'copy'}\n", "")


def test_fetch_without_a_server_shows_the_terms_then_fails_with_3(
    biasbench: Command, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bias_bench.data.download.sleep", lambda _: None)
    (copy / "copy" / "de.json").unlink()
    fetched = biasbench("data", "fetch", "copy", "--data-dir", copy)
    terms, error = fetched.err.splitlines(keepends=True)
    spec: BenchmarkSpec = registry.benchmarks()["copy"]
    assert terms == f"copy: {spec.licence} ({spec.licence_url}). Terms of use.\n"
    assert_one_line_error(fetched._replace(err=error), 3, f"{spec.base_url}de.json: cannot be")


# --- usage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["fetch", "verify", "cite"])
@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("xquad", "unknown benchmark 'xquad': did you mean 'xquad-r'?"),
        ("mlqa", "unknown benchmark 'mlqa': did you mean 'mlqa-r'?"),
        ("???", f"unknown benchmark '???': known: {', '.join(KNOWN)}"),
        ("two\nlines", f"unknown benchmark 'two lines': known: {', '.join(KNOWN)}"),
    ],
)
def test_unknown_name_exits_with_2_and_the_nearest_match(
    biasbench: Command, command: str, wrong: str, hint: str
) -> None:
    assert_one_line_error(biasbench("data", command, wrong), 2, hint)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "Did you mean 'list'?"),
        (["fetch"], "Missing argument"),
        (["list", "--format", "xml"], "'table', 'json'"),
        (["list", "--data-dir"], "requires an argument"),
        (["list", "surplus"], "surplus"),
        (["verify", "mini", "--datadir", "x"], "--data-dir"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_exits_with_2(
    biasbench: Command, arguments: list[str], message: str
) -> None:
    assert_one_line_error(biasbench("data", *arguments), 2, message)


@pytest.mark.parametrize("command", ["list", "fetch", "verify", "cite"])
def test_every_command_has_help_with_an_example(biasbench: Command, command: str) -> None:
    shown = biasbench("data", command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert f"biasbench data {command}" in shown.out.split("Examples:")[1]
