"""Settings of what a search goes through: all vectors, or an approximate index of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationInfo

from bias_bench.config.kinds import Strict

AUTO = "auto"


def _auto_or_count(value: Any, info: ValidationInfo) -> int | str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value == AUTO or (whole and value >= 1):
        return value
    raise ValueError(f"{info.field_name} is {AUTO} or a whole number from 1")


AutoOrCount = Annotated[int | str, PlainValidator(_auto_or_count)]


class ExactIndex(Strict):
    """No index: every query is compared with every candidate, and all ranks are known."""

    kind: Literal["exact"] = "exact"


class HnswIndex(Strict):
    """A graph of near neighbours in several layers (Malkov and Yashunin 2018), by faiss."""

    kind: Literal["hnsw"] = "hnsw"
    links: int = Field(default=32, ge=2, le=1024)
    """Neighbours of a vector in the graph; twice as many in the lowest layer."""
    build: int = Field(default=200, ge=1)
    """Candidates in view when a vector is added."""
    search: int = Field(default=128, ge=1)
    """Candidates in view when a query is answered; at least `retrieval.depth`."""


class IvfPqIndex(Strict):
    """Inverted lists of product codes (Jégou, Douze and Schmid 2011), by faiss."""

    kind: Literal["ivf-pq"] = "ivf-pq"
    lists: AutoOrCount = AUTO
    """Parts that the vectors are divided into, around centroids; `auto` is 4 √n for n vectors,
    fewer where a list would have less than 39."""
    probes: int = Field(default=64, ge=1)
    """Lists that a query looks into, the nearest ones."""
    code_bytes: AutoOrCount = AUTO
    """Bytes that a vector is kept in; `auto` is one for each 8 dimensions."""
    code_bits: Literal[4, 8] = 8
    """Bits of each number in a code: 8, or 4 for pools too small to train 256 code words on."""
    rescore: int = Field(default=8, ge=1)
    """This many times `retrieval.depth` candidates are scored again from their vectors."""


ApproximateIndex = HnswIndex | IvfPqIndex
IndexSettings = ExactIndex | HnswIndex | IvfPqIndex


def named_kind(value: Any) -> Any:
    """The short form of an index, ``hnsw``, as settings; anything else as it is."""
    return {"kind": value} if isinstance(value, str) else value
