"""What can go wrong when the hub is asked for something."""

from __future__ import annotations


def hub_errors() -> tuple[type[Exception], ...]:
    """What its client raises where a file or a list cannot be had, with or without a network."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    # the bases are OSError and the error of the HTTP library, which differs between versions
    return (LocalEntryNotFoundError, ValueError, *HfHubHTTPError.__bases__)
