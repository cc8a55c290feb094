"""Encoders behind a server of the OpenAI embeddings form: OpenAI's own, vLLM, TEI, Ollama, …

``POST <base>/embeddings`` with a model's name and texts is answered with a vector for each. The
address is in OPENAI_BASE_URL (without it, OpenAI's) and the key in OPENAI_API_KEY; the key is
sent to that address alone and written nowhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from bias_bench.encoders.cached import (
    CachedVectors,
    Model,
    cache_folder,
    load_vectors,
    remove_vectors,
    store_vectors,
)
from bias_bench.encoders.embeds import Request, Side, vector_key
from bias_bench.encoders.objects import checked_vectors, scaled
from bias_bench.encoders.profile import Similarity
from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.system.console import Advance, warn

DEFAULT_URL = "https://api.openai.com/v1"
BATCH_TEXTS, BATCH_CHARACTERS = 128, 100_000  # of a batch at most; one text may be longer
ATTEMPTS = 6  # at a batch
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds; doubled after each attempt
_TIMEOUT = (10, 300)  # seconds to connect, and to wait for an answer
_FORM = 1  # raise it when the way of asking changes, so that older vectors are not used
_SHOWN = 200  # characters of what a server says
_SIDES: dict[Side, str] = {"query": "queries", "candidate": "candidates"}
_TOO_MANY, _SERVER_ERROR = 429, 500
_FLOAT_BYTES, _MOST_DIMENSIONS = 4, 4_096
_SETTINGS = {"query_prefix", "candidate_prefix", "similarity"}


def server_model(
    name: str,
    encoding: Mapping[str, Any],
    device: str,  # noqa: ARG001 - the server computes
    fetch: bool = True,  # noqa: ARG001 - nothing is fetched
) -> CachedVectors:
    """``openai:MODEL``: a model behind a server, which is never asked twice for a text it answered.

    Its weights cannot be hashed: vectors are known by the server's host and path, the model's name
    and the prefixes. ``openai:MODEL@REVISION`` adds a word of the user's to that, which is not sent
    to the server; change it when the server has other weights under the same name.
    """
    spec = f"openai:{name}"
    url, server = _address(spec)
    model, _, revision = name.rpartition("@")
    if not model or "/" in revision:  # some names have the sign themselves
        model, revision = name, ""
    if refused := encoding.keys() - _SETTINGS:
        raise UsageError(
            f"setting encoding.{min(refused)}: {spec} computes on a server; leave it out"
        )
    similarity: Similarity = encoding.get("similarity", "cosine")
    prefixes = {side: encoding.get(f"{side}_prefix", "") for side in _SIDES}
    said = "; ".join(
        f"{name} with '{prefixes[side]}' (setting)"
        if prefixes[side]
        else f"{name} without a prefix"
        for side, name in _SIDES.items()
    )
    asked = f"model {model}{f' ({revision})' if revision else ''} of the server {server}; {said}"
    weights = {"server": server, "model": model, "revision": revision}
    identity = {
        "form": _FORM, "kind": "openai", **weights, "prefixes": prefixes, "similarity": similarity,
    }  # fmt: skip

    def load() -> _Client:
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not key and url == DEFAULT_URL:
            raise UsageError(
                f"{spec}: no key; set OPENAI_API_KEY, or OPENAI_BASE_URL for another server"
            )
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"{spec}: OPENAI_API_KEY holds characters that no key has")
        return _Client(f"{spec}: {server}", url, model, key, prefixes, identity)

    encoded = {"precision": "unknown", "device": server, "similarity": similarity, "asked": asked}
    return CachedVectors(
        spec=spec,
        identity=identity,
        record={"weights": weights, "encoding": encoded},
        described=f"{asked}; {similarity}",
        similarity=similarity,
        load=load,
    )


class _Client(Model):
    """Asks batch by batch; each batch is kept on disk until its request is.

    `who` begins every message.
    """

    def __init__(
        self,
        who: str,
        url: str,
        model: str,
        key: str,
        prefixes: Mapping[Side, str],
        identity: Mapping[str, Any],
    ) -> None:
        import requests

        self._who, self._url, self._model, self._key = who, url, model, key
        self._prefixes, self._identity = prefixes, {**identity, "part": "batch"}
        self._session = requests.Session()
        self._batches: list[str] = []  # keys of the batches of the last request

    def workspace(self, texts: int) -> int:
        """Bytes of the vectors, of as many dimensions as any have; the server's do not count."""
        return texts * 2 * _FLOAT_BYTES * _MOST_DIMENSIONS

    def encode(self, request: Request, advance: Advance) -> np.ndarray:
        folder, distinct = cache_folder(), list(dict.fromkeys(request.texts))
        row_of = {text: row for row, text in enumerate(distinct)}
        parts: list[np.ndarray] = []
        for texts in batches(distinct):
            key = vector_key(self._identity, request._replace(texts=texts))
            vectors = load_vectors(folder, key)
            if vectors is None:
                prefixed = [self._prefixes[request.side] + text for text in texts]
                vectors = self._ask(prefixed, request.label)
                store_vectors(folder, key, vectors, f"{request.label}, a batch")
            self._batches.append(key)
            if parts and vectors.shape[1] != parts[0].shape[1]:
                raise DataError(
                    f"{self._who}: vectors of {vectors.shape[1]} dimensions after those of "
                    f"{parts[0].shape[1]}; is it another model now?"
                )
            parts.append(vectors)
            advance(len(texts) * len(request.texts) / len(distinct))
        whole = np.concatenate(parts)[[row_of[text] for text in request.texts]]
        return scaled(whole, self._identity["similarity"])

    def stored(self) -> None:
        """Remove the batches of a request that is on disk."""
        while self._batches:
            remove_vectors(cache_folder(), self._batches.pop())

    def _ask(self, texts: list[str], label: str) -> np.ndarray:
        """Vectors float32 [texts, dimensions] of one batch, after as many attempts as it takes."""
        import requests

        passing = (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        )
        reason, who = "", self._who
        for attempt in range(ATTEMPTS):
            wait = FIRST_WAIT * 2**attempt
            try:
                answer = self._session.post(
                    f"{self._url}/embeddings",
                    json={"model": self._model, "input": texts, "encoding_format": "float"},
                    auth=self._authorised,
                    timeout=_TIMEOUT,
                    allow_redirects=False,  # the key is for this address alone
                )
                if answer.status_code == 200:
                    return self._vectors(answer, len(texts), label)
            except passing as error:
                reason = f"no answer ({type(error).__name__})"
            except requests.RequestException as error:
                raise BiasBenchError(f"{who}: cannot be asked ({type(error).__name__})") from None
            else:
                reason = f"status {answer.status_code}: {self._said(answer)}"
                if answer.status_code != _TOO_MANY and answer.status_code < _SERVER_ERROR:
                    raise BiasBenchError(f"{who}: {reason}")
                wait = max(wait, _seconds(answer.headers.get("Retry-After")))
            if attempt + 1 < ATTEMPTS:
                wait = min(wait, LONGEST_WAIT)
                warn(f"{who}: {reason}; asking again in {wait:.0f} s")
                time.sleep(wait)
        raise BiasBenchError(
            f"{who}: {reason}, the last of {ATTEMPTS} attempts; what it answered before is kept, "
            "so give the command again later"
        )

    def _authorised(self, request: Any) -> Any:
        """With the key; without one nothing is taken from a .netrc either."""
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _vectors(self, answer: Any, texts: int, label: str) -> np.ndarray:
        """The vectors in the order of the texts, whatever that of the answer."""
        try:
            rows = [(int(row["index"]), row["embedding"]) for row in answer.json()["data"]]
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{self._who}: an answer that is not of the OpenAI embeddings form: "
                f"{self._said(answer)}"
            ) from None
        if sorted(row for row, _ in rows) != list(range(texts)):
            raise DataError(
                f"{self._who}: {label}: asked for {texts:,} vectors and got {len(rows):,}, or not "
                "one for each text"
            )
        vectors: list[Any] = [None] * texts
        for row, vector in rows:
            vectors[row] = vector
        return checked_vectors(vectors, texts, label)

    def _said(self, answer: Any) -> str:
        """What the server says of a failure, in a line, without the key."""
        try:
            error = answer.json()["error"]
            text = str(error["message"] if isinstance(error, dict) else error)
        except (ValueError, KeyError, TypeError):
            text = answer.text or answer.reason or "nothing"
        line = " ".join(text.split())
        if self._key:
            line = line.replace(self._key, "…")
        return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Texts in order, in batches of up to `BATCH_TEXTS` texts and `BATCH_CHARACTERS` characters."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        if batch and (len(batch) == BATCH_TEXTS or characters + len(text) > BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(text)
        characters += len(text)
    if batch:
        yield batch


def _address(spec: str) -> tuple[str, str]:
    """The address to ask, without a slash at its end, and the part of it that a record may have."""
    url = (os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL).rstrip("/")
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in ("http", "https") else None
        port = parts.port
    except ValueError:
        host = None
    if not host or parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"{spec}: OPENAI_BASE_URL is not an address such as {DEFAULT_URL} (a key belongs in "
            "OPENAI_API_KEY)"
        )
    return url, f"{host}{f':{port}' if port else ''}{parts.path}"


def _seconds(header: str | None) -> float:
    """What a header Retry-After asks for; 0 without one, or where it is a date."""
    try:
        return max(float(header or 0), 0.0)
    except ValueError:
        return 0.0
