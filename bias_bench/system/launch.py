"""How this process was started: alone, or with others by `torchrun`."""

from __future__ import annotations

import os
from typing import NamedTuple


class Place(NamedTuple):
    """The place of a process among those that `torchrun` started; `local` on its own machine."""

    rank: int
    number: int
    local: int


def started() -> Place:
    """What `torchrun` says; alone unless all is there that it tells every process.

    Other programs set some of these variables too, as Slurm and MPI do, and shells keep them.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
    values = [os.environ.get(name, "") for name in names]
    if not os.environ.get("MASTER_ADDR") or not all(value.isdecimal() for value in values):
        return Place(0, 1, 0)
    rank, number, local, _ = map(int, values)
    return Place(rank, number, local) if rank < number else Place(0, 1, 0)


def started_number() -> int:
    """How many processes `torchrun` started; 1 without it."""
    return started().number


def started_rank() -> int:
    """Which of them this one is, from 0."""
    return started().rank
