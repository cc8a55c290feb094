"""How this process was started: alone, or with others by `torchrun`."""

from __future__ import annotations

import os

# of the environment: one of them alone may be there for another reason
_TOGETHER = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


def started_number() -> int:
    """How many processes `torchrun` started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if os.environ.keys() >= _TOGETHER else 1


def started_rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ["RANK"]) if started_number() > 1 else 0
