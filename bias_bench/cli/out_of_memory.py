"""What to lower when memory ran out, of the machine or of a GPU, by the work that ran out of it."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from traceback import walk_tb

_TRAINING = (
    "lower training.batch_size, or set training.gradient_cache=true, which bounds memory by "
    "training.chunk_tokens"
)
# the first of these modules that was at work decides
_LOWER = {
    "bias_bench.training.step": _TRAINING,
    "bias_bench.encoders.encoder": "lower encoding.batch_tokens",
    "bias_bench.training.negatives": "lower training.negatives.mining.memory_mb",
    "bias_bench.training": _TRAINING,
    "bias_bench.search": "give a smaller --memory, or lower retrieval.depth",
    "bias_bench.evaluation": "lower retrieval.depth",
}
_ELSEWHERE = (
    "lower training.batch_size, encoding.batch_tokens or --memory, or take a smaller encoder"
)
# what torch, and C++ below it, say in a RuntimeError; Python, numpy and Arrow raise MemoryError
_SAID = re.compile(r"out of memory|not enough memory|can't allocate memory|ALLOC_FAILED|bad_alloc")
_WANTED = re.compile(r"(?:tried|unable) to allocate ([\d.]+ ?(?:bytes|[KMGTP]iB))", re.IGNORECASE)


def out_of_memory(error: BaseException) -> str | None:
    """One line that says what to lower; None for an error about anything else."""
    cause = next(filter(_is_memory, _causes(error)), None)
    if cause is None:
        return None
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(cause.__traceback__)]
    known = (
        hint
        for module_start, hint in _LOWER.items()
        if any(name.startswith(module_start) for name in modules)
    )
    on_gpu = re.search("CUDA|CUBLAS|MPS|XPU|HIP", str(cause))
    size = _WANTED.search(str(cause))
    return (
        f"out of memory{' on the GPU' if on_gpu else ''}"
        f"{f' ({size[1]} more were asked for)' if size else ''}; {next(known, _ELSEWHERE)}"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError):
        return type(error).__name__ == "OutOfMemoryError" or bool(_SAID.search(str(error)))
    return isinstance(error, MemoryError)
