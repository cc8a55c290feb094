"""Fetching MIRACL from a hub that is a folder on this disk: pins, checksums, broken downloads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.hf_api import RepoFile, RepoFolder

from bias_bench.data import miracl_download, miracl_files
from bias_bench.data.download import fetch_benchmark
from bias_bench.data.miracl_files import (
    GENERATED,
    SUMS,
    Facts,
    annotation_name,
    corpus_folder,
    miracl_facts,
)
from bias_bench.data.registry import check_files, load_benchmark
from bias_bench.errors import DataError
from bias_bench.system.files import sha256_file
from tests.support.miracl_data import SHARDS, write_miracl


class NoNetworkError(HfHubHTTPError.__bases__[0]):  # type: ignore[misc]
    """As the hub's HTTP library raises where no name is resolved: no OSError, no hub error."""


class Hub:
    """Answers as the hub's client does, from `folder`; counts what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.downloads: list[tuple[str, str, str]] = []
        self.listings: list[tuple[str, str, str]] = []
        self.down = False
        self.sends: bytes | None = None

    def list_repo_tree(
        self, repository: str, below: str, *, repo_type: str, revision: str
    ) -> Iterator[Any]:
        assert repo_type == "dataset"
        if self.down:
            raise NoNetworkError("offline")
        self.listings.append((repository, below, revision))
        yield RepoFolder(path=f"{below}/more", oid="0")
        yield RepoFile(path=f"{below}/README.md", size=1, oid="0")
        for path in sorted((self.folder / below).glob("docs-*")):
            size, sha256 = path.stat().st_size, sha256_file(path)
            lfs = {"oid": sha256, "size": size, "pointerSize": 1}
            yield RepoFile(path=f"{below}/{path.name}", size=size, oid="0", lfs=lfs)

    def hf_hub_download(
        self, repository: str, name: str, *, repo_type: str, revision: str, local_dir: Path
    ) -> str:
        assert repo_type == "dataset"
        if self.down:
            raise LocalEntryNotFoundError("offline")
        self.downloads.append((repository, name, revision))
        target = local_dir / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / name, target)
        if self.sends is not None:
            target.write_bytes(self.sends)
        return str(target)

    @property
    def names(self) -> list[str]:
        return [name for _, name, _ in self.downloads]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub with two languages, which the package knows by their checksums."""
    folder = write_miracl(tmp_path / "hub") / "miracl"
    known = miracl_facts().model_dump()
    known["languages"] = {
        language: {
            "queries": 2,
            "judged": 4,
            "passages": sum(map(len, SHARDS)),
            "topics": sha256_file(folder / annotation_name(language, "topics")),
            "qrels": sha256_file(folder / annotation_name(language, "qrels")),
        }
        for language in ("sw", "yo")
    }
    facts = Facts(**known)
    for module in (miracl_files, miracl_download):
        monkeypatch.setattr(module, "miracl_facts", lambda: facts)
    hub = Hub(folder)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(
        list_repo_tree=hub.list_repo_tree
    ))  # fmt: skip
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.hf_hub_download)
    return hub


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_everything_comes_from_the_pinned_commits_and_loads(hub: Hub, data: Path) -> None:
    folder = fetch_benchmark("miracl", data)
    assert folder == data / "miracl"
    facts = miracl_facts()
    assert {(repository, revision) for repository, _, revision in hub.downloads} == {
        (facts.annotations.hub, facts.annotations.revision),
        (facts.corpus.hub, facts.corpus.revision),
    }
    assert {revision for *_, revision in hub.listings} == {facts.corpus.revision}
    assert len(facts.corpus.revision) == len(facts.annotations.revision) == 40
    assert not (folder / GENERATED).exists()
    assert {check.problem for check in check_files("miracl", data)} == {None}
    loaded = load_benchmark("miracl", data)
    assert loaded.collection.name == "miracl"
    assert loaded.note is None
    assert len(loaded.collection.candidates) == 2 * sum(map(len, SHARDS))


def test_checksums_of_the_commit_stay_beside_the_shards(hub: Hub, data: Path) -> None:
    folder = fetch_benchmark("miracl", data, languages=["sw"])
    corpus = corpus_folder(folder, "sw")
    assert (corpus / SUMS).read_text(encoding="utf-8") == "".join(
        f"{sha256_file(path)}  {path.name}\n" for path in sorted(corpus.glob("docs-*"))
    )
    assert not corpus_folder(folder, "yo").exists()
    assert all("sw" in name for name in hub.names)


def test_what_is_in_place_is_not_fetched_again(hub: Hub, data: Path) -> None:
    folder = fetch_benchmark("miracl", data)
    hub.downloads.clear()
    shard = corpus_folder(folder, "yo") / "docs-1.jsonl.gz"
    shard.write_bytes(shard.read_bytes()[:-1])
    (folder / annotation_name("sw", "qrels")).unlink()
    fetch_benchmark("miracl", data)
    assert sorted(hub.names) == [
        "miracl-corpus-v1.0-yo/docs-1.jsonl.gz",
        annotation_name("sw", "qrels"),
    ]
    assert {check.problem for check in check_files("miracl", data)} == {None}


def test_what_is_whole_needs_no_network(hub: Hub, data: Path) -> None:
    fetch_benchmark("miracl", data)
    hub.down = True
    assert fetch_benchmark("miracl", data) == data / "miracl"
    (data / "miracl/miracl-corpus-v1.0-sw/docs-0.jsonl.gz").unlink()
    with pytest.raises(DataError, match=r"docs-0.jsonl.gz: not on this disk and not fetched"):
        fetch_benchmark("miracl", data)


def test_both_variants_share_their_files(hub: Hub, data: Path) -> None:
    fetch_benchmark("miracl", data)
    hub.downloads.clear()
    fetch_benchmark("miracl-judged", data)
    assert hub.names == []
    assert load_benchmark("miracl-judged", data).collection.name == "miracl-judged"


def test_a_file_with_another_checksum_is_refused_and_not_kept(hub: Hub, data: Path) -> None:
    hub.sends = b"something else"
    with pytest.raises(DataError) as caught:
        fetch_benchmark("miracl", data)
    name = annotation_name("sw", "topics")
    assert str(caught.value).startswith(f"miracl/miracl/{name}: fetched, but damaged: sha256 ")
    assert not (data / "miracl" / name).exists()


def test_a_hub_that_cannot_be_reached_is_one_line_with_the_mend(hub: Hub, data: Path) -> None:
    hub.down = True
    with pytest.raises(DataError) as caught:
        fetch_benchmark("miracl", data)
    message = str(caught.value)
    where = "miracl/miracl-corpus/miracl-corpus-v1.0-sw"
    assert message.startswith(f"{where}: not on this disk and not fetched")
    assert "(NoNetworkError)" in message
    assert "--data-dir" in message
    assert "\n" not in message


def test_generated_data_are_not_mixed_with_fetched_ones(hub: Hub, data: Path) -> None:
    write_miracl(data)
    with pytest.raises(DataError, match="these data were generated"):
        fetch_benchmark("miracl", data)
    assert hub.names == []
