"""Checkpoints: whole or absent, checked when read, the newest intact one found by itself.

A checkpoint is a folder ``step-000100`` with ``model.safetensors`` (parameters of encoder and
terms), ``optimizer.safetensors`` (its state, tensor by tensor) and ``state.json`` (step, best
validation loss, digest of the configuration, sha256 of the other files). The random state is not
stored: every step's is made from the seed and the step's number.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bias_bench.errors import BiasBenchError
from bias_bench.system.console import warn
from bias_bench.system.files import (
    atomic_folder,
    read_json,
    sha256_file,
    write_json,
)
from bias_bench.system.files import digest as digest_of

ENCODER = "encoder."
_KEPT = 2
_NAME = re.compile(r"step-\d+")
_CHECKSUM = "checksum"  # of the rest of state.json
_FILES = ("model.safetensors", "optimizer.safetensors")


class Progress(NamedTuple):
    """How far training has come: steps done, and the best validation loss with its step."""

    step: int
    best_step: int
    best_loss: float | None


class Trained(NamedTuple):
    """What a checkpoint holds: named parameters, the optimizer over the same order, and what terms
    remember besides.
    """

    parameters: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    buffers: dict[str, torch.Tensor]

    def encoder_gradients(self) -> list[torch.Tensor]:
        """The gradients of the encoder's parameters, zeros where this process has none."""
        gradients = []
        for name, parameter in self.parameters.items():
            if name.startswith(ENCODER):
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        return gradients

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers by name."""
        return {**self.parameters, **self.buffers}


def save_checkpoint(folder: Path, trained: Trained, progress: Progress, digest: str) -> Path:
    """Write a checkpoint below `folder` and delete all but the newest two (and the best)."""
    from safetensors.torch import save_file

    target = _step(folder, progress.step)
    with atomic_folder(target) as temporary:
        model = {name: value.detach().contiguous() for name, value in trained.tensors.items()}
        save_file(model, temporary / _FILES[0])
        save_file(_flat(trained.optimizer), temporary / _FILES[1])
        state = {
            **progress._asdict(),
            "schema": 1,
            "digest": digest,
            "sha256": {name: sha256_file(temporary / name) for name in _FILES},
        }
        write_json(temporary / "state.json", {**state, _CHECKSUM: digest_of(state)})
    for old in _steps(folder)[:-_KEPT]:
        if old != _step(folder, progress.best_step):
            shutil.rmtree(old)
    return target


def load_newest(folder: Path, trained: Trained, digest: str) -> Progress | None:
    """Load the newest intact checkpoint of this configuration; None when there is none."""
    for path in reversed(_steps(folder)):
        state = _intact(path)
        if state is None:
            warn(f"{path}: damaged checkpoint, skipped")
        elif state["digest"] != digest:
            warn(f"{path}: checkpoint of another configuration, skipped")
        elif not _has_best(folder, state):
            # its end could not be reached: training ends with the best step's parameters
            warn(f"{path}: the checkpoint of its best step is damaged, skipped")
        else:
            _load_parameters(path, trained)
            _load_optimizer(path, trained.optimizer)
            return Progress(state["step"], state["best_step"], state["best_loss"])
    return None


def load_best(folder: Path, trained: Trained, progress: Progress) -> None:
    """Load the parameters of the step with the best validation loss."""
    path = _step(folder, progress.best_step)
    if _intact(path) is None:
        raise BiasBenchError(
            f"{path}: the best checkpoint is damaged; delete {folder} to train from scratch"
        )
    _load_parameters(path, trained)


def _step(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}"


def _steps(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, by step."""
    checkpoints = (path for path in folder.glob("step-*") if _NAME.fullmatch(path.name))
    return sorted(checkpoints, key=lambda path: int(path.name[5:]))


def newest_name(folder: Path) -> str:
    """The name of the last checkpoint written to `folder`, or ``none``."""
    return next((path.name for path in reversed(_steps(folder))), "none")


def _intact(path: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = read_json(path / "state.json")
        checksum = state.pop(_CHECKSUM, None)  # those of earlier versions have none
        sound = all(sha256_file(path / name) == state["sha256"][name] for name in _FILES)
    except (BiasBenchError, OSError, KeyError, TypeError, AttributeError):
        return None
    whole = {*Progress._fields, "digest"} <= state.keys() and checksum in (None, digest_of(state))
    return state if sound and whole else None


def _has_best(folder: Path, state: dict[str, Any]) -> bool:
    """Whether the parameters are there that training would end with, were it to go no better."""
    best = state["best_step"]
    if state["best_loss"] is None or best == state["step"]:
        return True
    return _intact(_step(folder, best)) is not None


def _load_parameters(path: Path, trained: Trained) -> None:
    from safetensors.torch import load_file

    values = load_file(path / _FILES[0])
    with torch.no_grad():
        for name, tensor in trained.tensors.items():
            tensor.copy_(values[name])


def _flat(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Optimizer state as named tensors: ``<number of parameter>.<name>``."""
    return {
        f"{number}.{name}": value.detach().contiguous()
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def _load_optimizer(path: Path, optimizer: torch.optim.Optimizer) -> None:
    from safetensors.torch import load_file

    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in load_file(path / _FILES[1]).items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
