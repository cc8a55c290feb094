"""Bytes that no honest program writes: arbitrary ones, and valid files with a few changes."""

from __future__ import annotations

import gzip
import json
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from bias_bench.errors import BiasBenchError

EXAMPLES = int(os.environ.get("BIASBENCH_FUZZ", "40"))  # of each reader
MEMORY = 3_000_000_000  # bytes that a reader may ask for beside what the process has

# a few examples are the same every time; many are others every time
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 100,
    suppress_health_check=list(HealthCheck),
)

_NASTY = [
    b"", b"\x00", b"\xff", b"\n", b"\r", b"\t", b" ", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"-1",
    b"1e999", b"NaN", b"-Infinity", b"9" * 5000, b"1_0", b"0x10", b"null", b"true", b"{}", b"[]",
    b'""', b'"\\ud800"', b"[" * 3000, b'{"a":' * 3000, b"../../x", b"/etc/passwd", b"%2f",
    b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"&a [*a]", b"!!python/none",
    b"2001-99-99", b"? [a]\n: b", b"<<: x", "\u202e\u0000".encode(), b"x" * 300,
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    """One of `valid` with up to four changes: bytes cut out, doubled, flipped or replaced."""
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 1, 2, 4, 8, 50]))
        how = draw(st.integers(0, 4))
        if how == 0:
            data[start : start + length] = draw(st.sampled_from(_NASTY))
        elif how == 1:
            data[start : start + length] = data[start : start + length] * 2
        elif how == 2:
            del data[start : start + length]
        elif how == 3 and start < len(data):
            data[start] ^= 1 << draw(st.integers(0, 7))
        else:
            del data[start:]
    return bytes(data)


def hostile(valid: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Arbitrary bytes, now and then; else changed valid ones."""
    changed = mutated(valid)
    return st.one_of(st.binary(max_size=200), changed, changed, changed)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["en", "../x", "\x00", "9" * 5000, "nan"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@st.composite
def changed_json(draw: st.DrawFn, valid: Any) -> bytes:
    """A JSON document with one or two of its values replaced by any other, removed or renamed."""
    content = json.loads(json.dumps(valid))
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(content))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        how = draw(st.integers(0, 3))
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(holder, dict):
            holder[draw(st.text(max_size=6))] = holder.pop(key)
        else:
            holder[key] = draw(json_values)
    return json.dumps(content).encode("utf-8")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def survives(reader: Callable[[], object]) -> None:
    """Fails unless `reader` gives a result or refuses in one line."""
    refused = "refused"
    try:
        with limited_memory():
            reader()
    except BiasBenchError as error:
        refused = str(error)  # of which the command line makes one line
    assert refused.strip()
    assert "Traceback" not in refused


@contextmanager
def limited_memory(more: int = MEMORY) -> Iterator[None]:
    """Inside, this process may take `more` bytes and not all that a file may declare."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    status = Path("/proc/self/statm")
    if not status.is_file():
        yield
        return
    used = int(status.read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
