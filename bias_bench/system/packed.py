"""Whether a file is compressed: its first bytes say so, whatever its name is."""

from __future__ import annotations

from pathlib import Path

_GZIP = b"\x1f\x8b"


def is_gzip(start: bytes) -> bool:
    """Whether content that starts with these bytes is gzip."""
    return start.startswith(_GZIP)


def is_gzip_file(path: Path) -> bool:
    """Whether a file's content is gzip."""
    with path.open("rb") as stream:
        return is_gzip(stream.read(len(_GZIP)))
