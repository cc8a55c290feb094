"""Fetch MIRACL from the hub at pinned commits: resumed where it broke off, and checked.

Topics and judgements have recorded checksums. The corpus has those that the hub lists at the
commit; they are kept beside the shards, so that later checks need no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bias_bench.data.benchmark import file_problem
from bias_bench.data.hub import ask_hub, hub_file
from bias_bench.data.miracl_files import (
    ELSEWHERE,
    SUMS,
    Kind,
    Repository,
    annotation_file,
    annotation_name,
    corpus_folder,
    expected_shards,
    languages_in,
    miracl_facts,
    read_generated,
    shard_number,
)
from bias_bench.errors import DataError
from bias_bench.system.console import progress, say
from bias_bench.system.files import write_text

_FIX = (
    "check the network and that you may read it (`hf auth login`), and run the same command again, "
    "or point --data-dir at a copy"
)


class Remote(NamedTuple):
    """A file to fetch: `name` below the folder as in the repository, looked for at `path`; `size`
    in bytes, if known.
    """

    repository: Repository
    name: str
    path: Path
    sha256: str
    size: int = 0


def fetch_folder(folder: Path, wanted: Sequence[str] | None) -> None:
    """Fetch what is missing or damaged of the languages; DataError names what could not be had."""
    if read_generated(folder):
        raise DataError(f"{folder}: {ELSEWHERE}")
    missing = [
        remote
        for language in languages_in(folder, wanted)
        for remote in (*_annotations(folder, language), *_shards(folder, language))
        if file_problem(remote.path, remote.size or None, remote.sha256)
    ]
    if not missing:
        return
    total = sum(remote.size for remote in missing)
    say(
        f"MIRACL: Apache 2.0 (https://www.apache.org/licenses/LICENSE-2.0); {len(missing)} files, "
        f"{total / 1e9:.1f} GB, into {folder}"
    )
    with progress("fetch miracl", total, "bytes") as advance:
        for remote in missing:
            _fetch(folder, remote)
            advance(remote.size)


def _annotations(folder: Path, language: str) -> list[Remote]:
    facts = miracl_facts()
    sums = facts.languages[language]
    names: list[tuple[Kind, str]] = [("topics", sums.topics), ("qrels", sums.qrels)]
    return [
        Remote(
            facts.annotations,
            annotation_name(language, kind),
            annotation_file(folder, language, kind),
            sha256,
        )
        for kind, sha256 in names
    ]


def _shards(folder: Path, language: str) -> list[Remote]:
    """The shards that the hub lists at the pinned commit; the list is kept, and asked for once."""
    repository, corpus = miracl_facts().corpus, corpus_folder(folder, language)
    if (corpus / SUMS).is_file():
        return [
            Remote(repository, f"{corpus.name}/{path.name}", path, sha256 or "")
            for path, sha256 in expected_shards(folder, language)
        ]
    remotes = _list_shards(repository, corpus)
    if not remotes:
        raise DataError(
            f"{repository.hub}/{corpus.name}: lists no docs-<n>.jsonl.gz; try again later"
        )
    lines = [f"{remote.sha256}  {remote.path.name}\n" for remote in remotes]
    write_text(corpus / SUMS, "".join(lines))
    return remotes


def _list_shards(repository: Repository, corpus: Path) -> list[Remote]:
    """The shards in a folder of a repository, with the checksums that its commit pins."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    entries = ask_hub(
        f"{repository.hub}/{corpus.name}",
        lambda: list(
            HfApi().list_repo_tree(
                repository.hub, corpus.name, repo_type="dataset", revision=repository.revision
            )
        ),
        _FIX,
    )
    return [
        Remote(repository, entry.path, corpus.parent / entry.path, entry.lfs.sha256, entry.size)
        for entry in entries
        if isinstance(entry, RepoFile) and entry.lfs and shard_number(entry.path) is not None
    ]


def _fetch(folder: Path, remote: Remote) -> None:
    repository, path = remote.repository, folder / remote.name
    path.unlink(missing_ok=True)  # damaged, or it would not be fetched
    hub_file(repository.hub, remote.name, repository.revision, _FIX, folder)
    if problem := file_problem(path, remote.size or None, remote.sha256):
        path.unlink(missing_ok=True)
        raise DataError(
            f"{repository.hub}/{remote.name}: fetched, but {problem}; nothing was kept, try again "
            "later"
        )
