"""Several processes that train one encoder together, as `torchrun` starts them.

Every process makes the same batch and embeds its share of the batch's chunks; vectors are gathered,
so the loss is that of the whole batch, with all its in-batch negatives, in every process. Gradients
of the encoder are summed. No pair is repeated or dropped, and dropout is seeded by chunk, so any
number of processes takes the same step up to the order of sums.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta

import numpy as np
import torch

from bias_bench.errors import UsageError

_PATIENCE = timedelta(days=1)  # the others wait while the first one mines


class Processes:
    """A process, the `rank`-th from 0 of `number`; alone, its methods give back what they get."""

    def __init__(self, rank: int = 0, number: int = 1) -> None:
        self.rank, self.number = rank, number

    def share(self, chunks: Sequence[np.ndarray]) -> list[int]:
        """The numbers of the chunks that this process embeds."""
        if len(chunks) < self.number:
            raise UsageError(
                f"a batch has {len(chunks)} chunks for {self.number} processes; lower "
                "training.chunk_tokens or the number of processes"
            )
        return list(range(self.rank, len(chunks), self.number))

    def whole(self, own: torch.Tensor, rows: np.ndarray, total: int) -> torch.Tensor:
        """Vectors [total, d] of all processes; `own` [rows, d] keep their graph, others have none.

        Each of the `total` rows is given by exactly one process.
        """
        places = torch.from_numpy(rows).to(own.device)
        found = torch.zeros(total, own.shape[1], dtype=own.dtype, device=own.device)
        if self.number > 1:
            found[places] = own.detach()
            self.add([found])
        return found.index_copy(0, places, own)

    def add(self, tensors: Iterable[torch.Tensor | None]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.number > 1:
            for tensor in tensors:
                if tensor is not None:
                    torch.distributed.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.number == 1:
            return flag
        count = torch.tensor(float(flag))
        if torch.distributed.get_backend() == "nccl":
            count = count.cuda()
        torch.distributed.all_reduce(count)
        return bool(count > 0)

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.number > 1:
            torch.distributed.barrier()


ALONE = Processes()


def started_number() -> int:
    """How many processes `torchrun` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join_processes(device: str) -> Processes:
    """Meet the other processes that `torchrun` started; alone without it."""
    if started_number() == 1:
        return ALONE
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu", timeout=_PATIENCE)
    return Processes(state.process_index, state.num_processes)


def own_device(device: str) -> str:
    """The device of this process: of several GPUs its own."""
    if device == "cuda" and started_number() > 1:
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return device
