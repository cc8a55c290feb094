"""Settings of what a search goes through: all vectors, or an approximate index of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationInfo

from bias_bench.kinds import Strict

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
    """A graph of near neighbours in several layers (Malkov and Yashunin 2018), by faiss.

    A vector has `links` neighbours in the layers and twice as many in the lowest one. `build`
    candidates are kept in view when it is added, `search` when a query is answered (at least the
    depth).
    """

    kind: Literal["hnsw"] = "hnsw"
    links: int = Field(default=32, ge=2, le=1024)
    build: int = Field(default=200, ge=1)
    search: int = Field(default=128, ge=1)


class IvfPqIndex(Strict):
    """Inverted lists of product codes (Jégou, Douze and Schmid 2011), by faiss.

    Vectors are divided into `lists` around centroids (auto: 4 √vectors, fewer where a list would
    have less than 39 vectors), of which a query looks into the `probes` nearest. A vector is kept
    as `code_bytes` (auto: one for each 8 dimensions), numbers of `code_bits` that each stand for a
    part of it. The best `rescore` × depth candidates by these codes are scored from their vectors.
    """

    kind: Literal["ivf-pq"] = "ivf-pq"
    lists: AutoOrCount = AUTO
    probes: int = Field(default=64, ge=1)
    code_bytes: AutoOrCount = AUTO
    code_bits: Literal[4, 8] = 8
    rescore: int = Field(default=8, ge=1)


ApproximateIndex = HnswIndex | IvfPqIndex
IndexSettings = ExactIndex | HnswIndex | IvfPqIndex


def named_kind(value: Any) -> Any:
    """The short form of an index, ``hnsw``, as settings; anything else as it is."""
    return {"kind": value} if isinstance(value, str) else value
