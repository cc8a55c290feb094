"""Build SentencePiece's precompiled character map from a plain table.

The `Precompiled` normalizer of the `tokenizers` library reads a Darts double array: a byte trie
whose node `n` has its children at `n ^ offset(n) ^ byte`. Format: uint32 size in bytes of the
trie, the trie's uint32 units, then the NUL-terminated UTF-8 replacements that leaf values point to.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

_HAS_LEAF = 1 << 8
_IS_LEAF = 1 << 31
_SIZE = 1 << 18  # an offset must stay below 1 << 21


def precompiled_charsmap(table: Mapping[int, str]) -> bytes:
    """Serialise ``{code point: replacement}`` for ``tokenizers.normalizers.Precompiled``."""
    replacements = bytearray()
    values: dict[str, int] = {}
    root: dict[int, Any] = {}
    for code_point, replacement in sorted(table.items()):
        if replacement not in values:
            values[replacement] = len(replacements)
            replacements += replacement.encode("utf-8") + b"\0"
        node = root
        for byte in chr(code_point).encode("utf-8"):
            node = node.setdefault(byte, {})
        node[0] = {"value": values[replacement]}
    units = _double_array(root)
    return struct.pack("<I", units.nbytes) + units.tobytes() + bytes(replacements)


def _double_array(root: dict[int, Any]) -> np.ndarray:
    """Place every trie node; returns uint32 units. A child's label 0 is its parent's leaf.

    No two nodes share a base, since a reader checks only a child's label, not its parent.
    """
    units = np.zeros(_SIZE, dtype=np.uint32)
    used = np.zeros(_SIZE, dtype=bool)
    used_base = np.zeros(_SIZE, dtype=bool)
    used[0] = used_base[0] = True
    full_below = 1
    queue = deque([(0, root)])
    while queue:
        position, children = queue.popleft()
        labels = np.array(sorted(children), dtype=np.int64)
        full_below += int(np.argmin(used[full_below:]))
        base = _free_base(used, used_base, labels, full_below & ~0xFF)
        used[base ^ labels] = used_base[base] = True
        units[position] |= np.uint32((position ^ base) << 10)
        for label in labels.tolist():
            child = base ^ label
            if label == 0:
                units[position] |= np.uint32(_HAS_LEAF)
                units[child] = np.uint32(_IS_LEAF | children[0]["value"])
            else:
                units[child] |= np.uint32(label)
                queue.append((child, children[label]))
    return units[: int(np.flatnonzero(used).max() | 0xFF) + 1].copy()


def _free_base(used: np.ndarray, used_base: np.ndarray, labels: np.ndarray, start: int) -> int:
    """The lowest unused base whose children's places are all free; children stay in its 256."""
    for block in range(start, _SIZE, 256):
        bases = np.arange(block, block + 256)
        free = ~used_base[bases] & ~used[bases[:, None] ^ labels[None, :]].any(axis=1)
        if free.any():
            return int(bases[np.argmax(free)])
    raise ValueError(f"character map needs more than {_SIZE} trie units")
