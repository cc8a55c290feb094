"""Models that a caller in Python has at hand: objects that encode texts, or vectors made already.

Nobody can tell from a Python object what it will answer, so such a model is asked for the vectors
of all of a benchmark's texts at once, and is known by their content. They stay in memory; the
cache of vectors is for backbones whose weights can be hashed.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from bias_bench.console import progress
from bias_bench.encoders.backbone import GIVEN, Backbone, Loaded
from bias_bench.encoders.cache import Request, texts_digest
from bias_bench.encoders.encoder import Side
from bias_bench.encoders.modules import candidate_prompt
from bias_bench.encoders.profile import Profile, Similarity
from bias_bench.errors import DataError, UsageError

# read by no one: the object itself knows its pooling, prefixes and lengths
_NO_PROFILE = Profile(
    pooling="mean",
    query_prefix="",
    candidate_prefix="",
    query_max_length=4,
    candidate_max_length=4,
)


class Encodes(Protocol):
    """A function from texts to vectors, float [texts, dimensions]; queries and candidates alike.

    It is called with all texts of one language and side at once, and makes batches itself.
    """

    def __call__(self, texts: list[str], /) -> ArrayLike: ...


class EncodesBySide(Protocol):
    """As `Encodes`, with a parameter called `side` that is told ``query`` or ``candidate``."""

    def __call__(self, texts: list[str], /, *, side: Side) -> ArrayLike: ...


class SentenceEncoder(Protocol):
    """A SentenceTransformer (sentence-transformers 5 or later), or what has these two methods.

    `encode_queries` and `encode_corpus`, or `encode` alone, will do as well.
    """

    @property
    def encode_query(self) -> Callable[..., Any]:
        """From texts of queries to vectors, float [texts, dimensions]."""
        ...

    @property
    def encode_document(self) -> Callable[..., Any]:
        """From texts of candidates to vectors, float [texts, dimensions]."""
        ...


class Vectors(NamedTuple):
    """Vectors of a collection made already, float [n, dimensions] each.

    Rows of `queries` and `candidates` are in the order of `Collection.queries` and
    `Collection.candidates`.
    """

    queries: ArrayLike
    candidates: ArrayLike


class GivenModel(NamedTuple):
    """How a given model answers requests, with vectors float32 [texts, dimensions] of each, ready
    to search; what it computes in, as far as that is known; what a manifest says of it; and the
    same in a line.
    """

    encode: Callable[[Sequence[Request]], list[np.ndarray]]
    precision: str
    record: dict[str, Any]
    described: str


GivenObject = Encodes | EncodesBySide | SentenceEncoder | Vectors | Mapping[str, ArrayLike]
Encode = Callable[[list[str], Side], ArrayLike]


def model_name(model: GivenObject) -> str:
    """What a model is called where its caller does not say: its class, or the function's name."""
    if isinstance(model, Mapping | Vectors):
        return "vectors"
    return getattr(model, "__name__", type(model).__name__).strip("<>")


def given_backbone(
    model: GivenObject, name: str, requests: Sequence[Request], similarity: Similarity | None = None
) -> Backbone:
    """A backbone that holds the model's vectors of `requests` and asks it for those of other texts.

    `requests` are a benchmark's: candidates by language, then queries by language. `similarity` is
    the model's own where None, else cosine; vectors are scaled to length 1 for cosine. Raises
    UsageError for an object that does not encode, DataError for vectors that cannot be compared.
    """
    compared = _similarity(model, similarity)
    start = perf_counter()
    encode: Encode | None
    if isinstance(model, Mapping | Vectors):
        encode, parts = None, _split(_as_vectors(model), requests)
    else:
        encode = _encode(model)
        parts = _ask(encode, requests)
    _require_one_width(parts, requests)
    ready = [_scaled(part, compared) for part in parts]
    held = {_key(request): part for request, part in zip(requests, ready, strict=True)}

    def answer(asked: Sequence[Request]) -> list[np.ndarray]:
        others = [request for request in asked if _key(request) not in held]
        if others and encode is None:
            raise UsageError(
                "ready vectors are of the benchmark's own texts, and other texts are asked for; "
                "give a model that encodes, or leave out robustness and debias"
            )
        found = _ask(encode, others) if encode and others else []
        _require_one_width([ready[0], *found], [requests[0], *others])
        left = (_scaled(part, compared) for part in found)
        return [held[_key(request)] if _key(request) in held else next(left) for request in asked]

    asked = _asked(model)
    record = {
        "class": _class_of(model),
        "asked": asked,
        "name": name,
        "similarity": compared,
        "dimensions": ready[0].shape[1],
        "encode_seconds": round(perf_counter() - start, 3),
    }
    described = f"{record['class']}; {asked}; {compared}"
    given = GivenModel(answer, _precision(model), record, described)
    return Backbone(f"{GIVEN}:{name}", _NO_PROFILE, {"vectors": _digest(ready)}, _no_weights, given)


def _no_weights() -> Loaded:
    raise UsageError("a model given as a Python object has no weights to load; give its folder")


_PAIRS = (("encode_query", "encode_document"), ("encode_queries", "encode_corpus"))


def _methods(model: Any) -> tuple[str, str] | None:
    """The names of the methods for queries and for candidates, None without any."""
    for pair in (*_PAIRS, ("encode", "encode")):
        if all(callable(getattr(model, name, None)) for name in pair):
            return pair
    return None


def _asked(model: Any) -> str:
    """How the model is asked, in words; with the prompts that a SentenceTransformer has."""
    if isinstance(model, Mapping | Vectors):
        return "vectors made already"
    methods = _methods(model)
    if methods is None:
        return "a function that is told the side" if _takes_side(model) else "a function of texts"
    if methods[0] != "encode_query" or not isinstance(getattr(model, "prompts", None), dict):
        return " and ".join(dict.fromkeys(methods))
    names = {"queries": "query", "candidates": candidate_prompt(model.prompts) or "document"}
    prompts = ((side, model.prompts.get(name)) for side, name in names.items())
    return "; ".join(
        f"{side} with its prompt '{text}'" if text else f"{side} without a prompt"
        for side, text in prompts
    )


def _encode(model: Any) -> Encode:
    """How the object is asked; UsageError where it cannot be."""
    names = _methods(model)
    if names is not None:
        for_queries, for_candidates = (_method(model, name) for name in names)
        methods = {"query": for_queries, "candidate": for_candidates}
        return lambda texts, side: methods[side](texts)
    if hasattr(model, "state_dict") and hasattr(model, "forward"):
        raise UsageError(
            f"{_class_of(model)}: a torch module takes tokens, not texts; give a "
            "SentenceTransformer (version 5 or later), its folder, or a function from texts to "
            "vectors"
        )
    if not callable(model):
        raise UsageError(
            f"{_class_of(model)}: neither a backbone's name or folder nor a model; give a "
            "SentenceTransformer, a function from texts to vectors, or bias_bench.Vectors"
        )
    if _takes_side(model):
        return lambda texts, side: model(texts, side=side)
    return lambda texts, _: model(texts)


def _method(model: Any, name: str) -> Callable[[list[str]], ArrayLike]:
    """One of the model's methods; UsageError where it needs more than texts."""
    method: Callable[..., ArrayLike] = getattr(model, name)
    try:
        inspect.signature(method).bind([])
    except TypeError as error:
        raise UsageError(
            f"{_class_of(model)}.{name}: it needs more than texts ({error}); give a function from "
            "texts to vectors that calls it"
        ) from None
    except ValueError:  # some built-in methods have no signature
        pass
    if name == "encode_document":
        prompts = getattr(model, "prompts", None)
        prompt = candidate_prompt(prompts) if isinstance(prompts, dict) else None
        # the prompt of the model's makers, also where `document`, which is always there, is empty
        return partial(method, prompt_name=prompt) if prompt else method
    if name == "encode_corpus":
        return partial(_encode_corpus, method)
    return method


def _encode_corpus(method: Callable[..., ArrayLike], texts: list[str]) -> ArrayLike:
    """Passages as texts, or as BEIR's models have them, with a title."""
    try:
        return method(texts)
    except TypeError:
        return method([{"title": "", "text": text} for text in texts])


def _takes_side(function: Callable[..., Any]) -> bool:
    """Whether the function names a parameter `side`."""
    try:
        parameter = inspect.signature(function).parameters.get("side")
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
    return parameter is not None and parameter.kind in (
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )


def _ask(encode: Encode, requests: Sequence[Request]) -> list[np.ndarray]:
    found = []
    with progress("encode", sum(len(request.texts) for request in requests), "texts") as advance:
        for request in requests:
            # a copy, so that a model which changes its list does not change the benchmark
            vectors = encode(list(request.texts), request.side)
            found.append(_checked(vectors, len(request.texts), request.label))
            advance(len(request.texts))
    return found


def _as_vectors(model: Mapping[str, ArrayLike] | Vectors) -> Vectors:
    if isinstance(model, Vectors):
        return model
    if set(model) != {"queries", "candidates"}:
        held = ", ".join(map(str, model)) or "nothing"
        raise UsageError(f"vectors: give 'queries' and 'candidates', not {held}")
    return Vectors(model["queries"], model["candidates"])


def _split(vectors: Vectors, requests: Sequence[Request]) -> list[np.ndarray]:
    """The rows of each request."""
    found: dict[str, np.ndarray] = {}
    for side, name in (("query", "queries"), ("candidate", "candidates")):
        total = sum(len(request.texts) for request in requests if request.side == side)
        found[side] = _checked(getattr(vectors, name), total, name)
    past = {"query": 0, "candidate": 0}
    parts = []
    for request in requests:
        start = past[request.side]
        past[request.side] += len(request.texts)
        parts.append(found[request.side][start : past[request.side]])
    return parts


def _checked(vectors: Any, texts: int, what: str) -> np.ndarray:
    """float32 [texts, dimensions]; DataError for another shape, NaN or infinity."""
    if isinstance(vectors, list | tuple) and vectors and hasattr(vectors[0], "detach"):
        vectors = [_from_torch(vector, what) for vector in vectors]
    elif hasattr(vectors, "detach"):
        vectors = _from_torch(vectors, what)
    if hasattr(vectors, "toarray"):  # of scipy
        raise DataError(_SPARSE.format(what))
    try:
        array = np.asarray(vectors)
        if array.dtype in (np.int8, np.uint8):
            raise DataError(
                f"{what}: vectors of {array.dtype}, packed or quantised, cannot be compared as "
                "numbers; give them as floats (precision='float32')"
            )
        with np.errstate(over="ignore"):  # what is too large for float32 is found below
            array = np.asarray(array, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: not an array of numbers ({error})") from None
    if array.ndim != 2 or len(array) != texts or not array.shape[1]:
        raise DataError(
            f"{what}: vectors of shape {array.shape} for {texts:,} texts; expected ({texts}, "
            "dimensions)"
        )
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise DataError(f"{what}: row {bad[0]} holds NaN or infinity ({len(bad):,} such rows)")
    return array


_SPARSE = "{}: sparse vectors cannot be searched here; give dense ones"


def _from_torch(tensor: Any, what: str) -> Any:
    """A torch tensor, wherever it lies and in whatever precision, as an array."""
    if tensor.is_sparse:
        raise DataError(_SPARSE.format(what))
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _require_one_width(parts: Sequence[np.ndarray], requests: Sequence[Request]) -> None:
    for part, request in zip(parts, requests, strict=True):
        if part.shape[1] != parts[0].shape[1]:
            raise DataError(
                f"{request.label}: {part.shape[1]} dimensions, but {requests[0].label} have "
                f"{parts[0].shape[1]}; one encoder gives one number"
            )


def _similarity(model: Any, asked: Similarity | None) -> Similarity:
    own = asked or str(getattr(model, "similarity_fn_name", None) or "cosine")
    if own == "cosine":
        return "cosine"
    if own == "dot":
        return "dot"
    raise UsageError(f"similarity '{own}': choose 'cosine' or 'dot'")


def _scaled(vectors: np.ndarray, similarity: Similarity) -> np.ndarray:
    """To length 1 for cosine; a vector of zeros stays one, and is as far from all others."""
    if similarity == "dot":
        return vectors
    # squares of what float32 holds can be too large, or too small, for it
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))[:, None]
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _precision(model: Any) -> str:
    """What a torch model computes in, as far as its weights say; unknown for others."""
    weight = next(iter(model.parameters()), None) if hasattr(model, "parameters") else None
    return "unknown" if weight is None else str(weight.dtype).removeprefix("torch.")


def _class_of(model: Any) -> str:
    kind = model if hasattr(model, "__qualname__") else type(model)
    return f"{getattr(kind, '__module__', '?')}.{kind.__qualname__}"


def _key(request: Request) -> tuple[str, str, str]:
    return request.label, request.side, texts_digest(request.texts)


def _digest(parts: Sequence[np.ndarray]) -> str:
    """sha256 over all vectors and their shapes, in order."""
    state = hashlib.sha256()
    for part in parts:
        state.update(repr(part.shape).encode())
        state.update(np.ascontiguousarray(part).tobytes())
    return state.hexdigest()
