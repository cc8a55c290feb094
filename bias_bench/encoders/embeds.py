"""What a source of vectors is, wherever its vectors come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from bias_bench.data.corpus import ShardTexts
from bias_bench.encoders.blocks import VectorBlocks
from bias_bench.encoders.profile import Similarity
from bias_bench.system.files import digest, digest_texts
from bias_bench.system.processes import ALONE, Processes

Side = Literal["query", "candidate"]


class Request(NamedTuple):
    """Texts to encode together, with a label for progress; a `ShardTexts` is read when needed.

    `language` is that of the texts, where they have one and a source may need it.
    """

    label: str
    side: Side
    texts: Sequence[str]
    language: str | None = None

    @property
    def sha256(self) -> str:
        """Of the texts in order, as `files.digest_texts`; of texts on disk it is known already."""
        texts = self.texts
        return texts.sha256 if isinstance(texts, ShardTexts) else digest_texts(texts)

    @property
    def characters(self) -> int:
        """How many there are in all texts."""
        texts = self.texts
        return texts.characters if isinstance(texts, ShardTexts) else sum(map(len, texts))


class Texts(NamedTuple):
    """What a request asks for: the key of its vectors, how many texts with how many characters, and
    whether their vectors are there already.
    """

    key: str
    number: int
    characters: int
    cached: bool


class Embeds(Protocol):
    """A source of vectors.

    `spec` is what a run calls it. `identity` (JSON values), with the side and the texts, decides
    every vector. `record` are the fields of the manifest that say how its vectors come about, and
    `described` says it in a line. `languages` are those that it was made for, where that is stated
    (None: not).
    """

    @property
    def spec(self) -> str: ...
    @property
    def identity(self) -> Mapping[str, Any]: ...
    @property
    def record(self) -> dict[str, Any]: ...
    @property
    def described(self) -> str: ...
    @property
    def similarity(self) -> Similarity: ...
    @property
    def languages(self) -> tuple[str, ...] | None: ...

    def vectors(
        self,
        requests: Sequence[Request],
        *,
        again: bool = False,
        processes: Processes = ALONE,
        memory: int | None = None,
    ) -> list[VectorBlocks]:
        """Vectors float32 [texts, dimensions] of each request, in memory or on disk.

        They are of length 1 where they are compared by cosine. With `again` nothing that others
        left in a cache is used, and no text is encoded twice by one source. Of several processes
        each does its share: all make the same call at the same time. UsageError where encoding
        takes more than `memory` bytes (None: no limit).
        """
        ...

    def texts(self, requests: Sequence[Request]) -> list[Texts]:
        """What `vectors` of the requests would take from a cache or compute; nothing is computed.

        Empty requests are left out. Equal keys are of equal vectors, as they are before debiasing:
        what decides a stage is these keys and the record's `debias`.
        """
        ...


def vector_key(identity: Mapping[str, Any], request: Request) -> str:
    """sha256 over everything that decides the vectors of a request."""
    return digest({**identity, "side": request.side, "texts": request.sha256})


def texts_of(
    identity: Mapping[str, Any],
    requests: Sequence[Request],
    is_cached: Callable[[Request, str], bool],
) -> list[Texts]:
    """`Embeds.texts` of a source; `is_cached` says it of a request and its key."""
    keys = [(request, vector_key(identity, request)) for request in requests if request.texts]
    return [
        Texts(key, len(request.texts), request.characters, is_cached(request, key))
        for request, key in keys
    ]
