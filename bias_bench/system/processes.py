"""Several processes that work together, as `torchrun` starts them: they train, encode or search.

To train, every process makes the same batch and embeds its share of the batch's chunks; vectors are
gathered, so the loss is that of the whole batch, with all its in-batch negatives, in every process.
Gradients of the encoder are summed. No pair is repeated or dropped, and dropout is seeded by chunk,
so any number of processes takes the same step up to the order of sums.

Encoding and searching are shared by shard and by block, and what a share gives does not depend on
the number of shares.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from bias_bench.system.launch import started, started_number

if TYPE_CHECKING:
    import torch

_PATIENCE = timedelta(days=1)  # the others wait while the first one mines


class Processes:
    """A process, the `rank`-th from 0 of `number`; alone, its methods give back what they get."""

    def __init__(self, rank: int = 0, number: int = 1) -> None:
        self.rank, self.number = rank, number

    def share(self, chunks: Sequence[np.ndarray]) -> list[int]:
        """The numbers of the chunks that this process embeds; none where there are too few."""
        return list(range(self.rank, len(chunks), self.number))

    def whole(self, own: torch.Tensor, rows: np.ndarray, total: int) -> torch.Tensor:
        """Vectors [total, d] of all processes; `own` [rows, d] keep their graph, others have none.

        Each of the `total` rows is given by exactly one process.
        """
        import torch

        places = torch.from_numpy(rows).to(own.device)
        found = torch.zeros(total, own.shape[1], dtype=own.dtype, device=own.device)
        if self.number > 1:
            found[places] = own.detach()
            self.add([found])
        return found.index_copy(0, places, own)

    def add(self, tensors: Iterable[torch.Tensor | None]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.number > 1:
            import torch

            for tensor in tensors:
                if tensor is not None:
                    torch.distributed.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.number == 1:
            return flag
        return bool(self.total(np.array([flag], dtype=np.int64))[0] > 0)

    def total(self, array: np.ndarray) -> np.ndarray:
        """The sum of the processes' arrays, of one shape and type."""
        if self.number == 1:
            return array
        tensor = _sendable(array)
        self.add([tensor])
        return tensor.cpu().numpy()

    def of_first(self, array: np.ndarray) -> np.ndarray:
        """The array of the first process; the others give one of its shape and type."""
        if self.number == 1:
            return array
        import torch

        tensor = _sendable(array)
        torch.distributed.broadcast(tensor, src=0)
        return tensor.cpu().numpy()

    def gathered(self, array: np.ndarray) -> list[np.ndarray]:
        """In the first process the arrays of all, of one shape and type; in the others none."""
        if self.number == 1:
            return [array]
        import torch

        tensor = _sendable(array)
        if self.rank > 0:
            torch.distributed.gather(tensor, dst=0)
            return []
        found = [torch.empty_like(tensor) for _ in range(self.number)]
        torch.distributed.gather(tensor, found, dst=0)
        return [part.cpu().numpy() for part in found]

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.number > 1:
            import torch

            torch.distributed.barrier()

    def finish(self) -> None:
        """Go on when all processes are done; at exit, their ties end while Python is still whole.

        Left to the interpreter's end, a thread of gloo that still holds a tensor aborts the process
        now and then. After a failure nothing is ended here: the others may be waiting.
        """
        if self.number > 1:
            self.wait()
            atexit.unregister(_part)
            atexit.register(_part)


def _part() -> None:
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


ALONE = Processes()


def join_processes(device: str) -> Processes:
    """Meet the other processes that `torchrun` started; alone without it."""
    if started_number() == 1:
        return ALONE
    import torch

    place, cuda = started(), device.startswith("cuda")
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    if cuda:
        torch.cuda.set_device(place.local)
    return Processes(place.rank, place.number)


def own_device(device: str) -> str:
    """The device of this process: of several GPUs its own."""
    if device == "cuda" and started_number() > 1:
        return f"cuda:{started().local}"
    return device


def _sendable(array: np.ndarray) -> torch.Tensor:
    """A copy where the processes can exchange it: nccl takes tensors of GPUs alone."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array).copy())
    return tensor.cuda() if torch.distributed.get_backend() == "nccl" else tensor
