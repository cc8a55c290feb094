"""Python objects that encode: which of their methods are asked, and with which prompts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from bias_bench.encoders.embeds import Side
from bias_bench.encoders.modules import candidate_prompt
from bias_bench.encoders.profile import Similarity
from bias_bench.errors import DataError, UsageError


class Encodes(Protocol):
    """A function from texts to vectors, float [texts, dimensions]; queries and candidates alike.

    It is called with all texts of one language and side at once, and makes batches itself.
    """

    def __call__(self, texts: list[str], /) -> ArrayLike: ...


class EncodesBySide(Protocol):
    """As `Encodes`, with a parameter called `side` that is told ``query`` or ``candidate``."""

    def __call__(self, texts: list[str], /, *, side: Side) -> ArrayLike: ...


class SentenceEncoder(Protocol):
    """A SentenceTransformer (sentence-transformers 5 or later), or what has these two methods."""

    @property
    def encode_query(self) -> Callable[..., Any]:
        """From texts of queries to vectors, float [texts, dimensions]."""
        ...

    @property
    def encode_document(self) -> Callable[..., Any]:
        """From texts of candidates to vectors, float [texts, dimensions]."""
        ...


class CorpusEncoder(Protocol):
    """What has `encode_queries` and `encode_corpus`, as models for BEIR.

    Passages are given as texts, and where those are not taken as ``{"title": "", "text": …}``.
    """

    @property
    def encode_queries(self) -> Callable[..., Any]:
        """From texts of queries to vectors, float [texts, dimensions]."""
        ...

    @property
    def encode_corpus(self) -> Callable[..., Any]:
        """From passages to vectors, float [passages, dimensions]."""
        ...


class TextEncoder(Protocol):
    """What has `encode` alone: queries and candidates are encoded alike."""

    @property
    def encode(self) -> Callable[..., Any]:
        """From texts to vectors, float [texts, dimensions]."""
        ...


class Vectors(NamedTuple):
    """Vectors of a collection made already, float [n, dimensions] each.

    Rows of `queries` and `candidates` are in the order of `Collection.queries` and
    `Collection.candidates`.
    """

    queries: ArrayLike
    candidates: ArrayLike


GivenObject = (
    Encodes
    | EncodesBySide
    | SentenceEncoder
    | CorpusEncoder
    | TextEncoder
    | Vectors
    | Mapping[str, ArrayLike]
)
Encode = Callable[[list[str], Side], ArrayLike]
MTEB_TASK = "XQuADRetrieval"  # as whose queries and documents models of mteb are asked
MTEB_ASKED = f"by mteb, as in its task {MTEB_TASK}"
_MTEB_BATCH = 32
_SPARSE = "{}: sparse vectors cannot be searched here; give dense ones"


def model_name(model: GivenObject) -> str:
    """What a model is called where its caller does not say: its class, or the function's name."""
    if isinstance(model, Mapping | Vectors):
        return "vectors"
    return getattr(model, "__name__", type(model).__name__).strip("<>")


_PAIRS = (("encode_query", "encode_document"), ("encode_queries", "encode_corpus"))


def _methods(model: Any) -> tuple[str, str] | None:
    """The names of the methods for queries and for candidates, None without any."""
    for pair in (*_PAIRS, ("encode", "encode")):
        if all(callable(getattr(model, name, None)) for name in pair):
            return pair
    return None


def how_asked(model: Any) -> str:
    """How the model is asked, in words; with the prompts that a SentenceTransformer has."""
    if isinstance(model, Mapping | Vectors):
        return "vectors made already"
    if hasattr(model, "mteb_model_meta"):
        return MTEB_ASKED
    methods = _methods(model)
    if methods is None:
        return "a function that is told the side" if _takes_side(model) else "a function of texts"
    if methods[0] != "encode_query" or not isinstance(getattr(model, "prompts", None), dict):
        return " and ".join(dict.fromkeys(methods))
    return prompts_asked(model.prompts)


def prompts_asked(prompts: Mapping[str, Any]) -> str:
    """How a SentenceTransformer with these prompts, by name, is asked, in words."""
    names = {"queries": "query", "candidates": candidate_prompt({**prompts}) or "document"}
    texts = ((side, prompts.get(name)) for side, name in names.items())
    return "; ".join(
        f"{side} with its prompt '{text}'" if text else f"{side} without a prompt"
        for side, text in texts
    )


def asker(model: Any) -> Encode:
    """How the object is asked; UsageError where it cannot be."""
    if hasattr(model, "mteb_model_meta"):
        return partial(_ask_mteb, model)
    names = _methods(model)
    if names is not None:
        for_queries, for_candidates = (_method(model, name) for name in names)
        methods = {"query": for_queries, "candidate": for_candidates}
        return lambda texts, side: methods[side](texts)
    if hasattr(model, "state_dict") and hasattr(model, "forward"):
        raise UsageError(
            f"{class_of(model)}: a torch module takes tokens, not texts; give a "
            "SentenceTransformer (version 5 or later), its folder, or a function from texts to "
            "vectors"
        )
    if not callable(model):
        raise UsageError(
            f"{class_of(model)}: neither a backbone's name or folder nor a model; give a "
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
            f"{class_of(model)}.{name}: it needs more than texts ({error}); give a function from "
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


def _ask_mteb(model: Any, texts: list[str], side: Side) -> ArrayLike:
    """Vectors of an encoder in mteb's form, asked as in `MTEB_TASK`."""
    import mteb
    from datasets import Dataset
    from mteb.types import PromptType
    from torch.utils.data import DataLoader

    if not hasattr(model, "encode"):
        raise UsageError(f"{class_of(model)}: has no vectors of texts; give an encoder of mteb")
    of_side = {"query": texts} if side == "query" else {"title": [""] * len(texts), "body": texts}
    return model.encode(
        DataLoader(Dataset.from_dict({"text": texts, **of_side}), batch_size=_MTEB_BATCH),
        task_metadata=mteb.get_task(MTEB_TASK).metadata,
        hf_split="validation",
        hf_subset="default",
        prompt_type=PromptType.query if side == "query" else PromptType.document,
        show_progress_bar=False,
    )


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


def class_of(model: Any) -> str:
    kind = model if hasattr(model, "__qualname__") else type(model)
    return f"{getattr(kind, '__module__', '?')}.{kind.__qualname__}"


def checked_vectors(vectors: Any, texts: int, what: str) -> np.ndarray:
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


def _from_torch(tensor: Any, what: str) -> Any:
    """A torch tensor, wherever it lies and in whatever precision, as an array."""
    if tensor.is_sparse:
        raise DataError(_SPARSE.format(what))
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def stated_similarity(model: Any) -> object:
    """The name of the similarity that a model's own files state; None without one."""
    stated = getattr(getattr(model, "mteb_model_meta", model), "similarity_fn_name", None)
    return getattr(stated, "value", stated)


def require_similarity(name: object, whose: str) -> Similarity:
    """A similarity by its name; UsageError for one that is neither cosine nor dot."""
    if name == "cosine":
        return "cosine"
    if name == "dot":
        return "dot"
    raise UsageError(f"{whose}: similarity '{name}': choose 'cosine' or 'dot'")


def scaled(vectors: np.ndarray, similarity: Similarity) -> np.ndarray:
    """To length 1 for cosine; a vector of zeros stays one, and is as far from all others."""
    if similarity == "dot":
        return vectors
    # squares of what float32 holds can be too large, or too small, for it
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))[:, None]
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
