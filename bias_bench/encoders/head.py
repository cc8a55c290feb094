"""What an encoder does to a pooled vector: dense layers, normalisation, truncation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bias_bench.encoders.modules import Step
from bias_bench.errors import DataError


def build_head(steps: Sequence[Step]) -> Any:
    """A torch module from float32 [texts, dimensions] to vectors of its own width; None for none.

    DataError for weights that are damaged, or not of the sizes that their configuration says.
    """
    if not steps:
        return None
    import torch

    return torch.nn.Sequential(*(_build(step) for step in steps)).eval()


def _build(step: Step) -> Any:
    import torch

    if step.kind == "Normalize":
        return _function(lambda x: torch.nn.functional.normalize(x, dim=-1))
    if step.kind == "Truncate":
        return _function(lambda x: x[:, : step.config["size"]])
    with torch.device("meta"):  # takes no memory, whatever the sizes
        if step.kind == "LayerNorm":
            layer: Any = torch.nn.LayerNorm(step.config["dimension"])
        else:
            sizes = step.config["in_features"], step.config["out_features"]
            layer = torch.nn.Linear(*sizes, bias=step.config["bias"])
    if step.kind == "LayerNorm":
        return _load(step, "norm.", layer)
    layer = _load(step, "linear.", layer)
    name = step.config["activation_function"].rpartition(".")[2]
    activation = getattr(torch.nn, name, None)
    try:
        return torch.nn.Sequential(layer, activation())  # type: ignore[misc]
    except TypeError:
        raise DataError(f"{step.place}: activation_function '{name}' cannot be followed") from None


def _function(function: Any) -> Any:
    import torch

    class Function(torch.nn.Module):
        def forward(self, vectors: Any) -> Any:
            return function(vectors)

    return Function()


def _load(step: Step, prefix: str, layer: Any) -> Any:
    """`layer` with the weights of the step's files, whose names begin with `prefix`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state: dict[str, Any] = {}
    try:
        for path in sorted(step.place.glob("*.safetensors")):
            state |= load_file(path)
        state = {name.removeprefix(prefix): x.float() for name, x in state.items()}
        layer.load_state_dict(state, assign=True)
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{step.place}: the weights of the module '{step.kind}' are damaged ({reason}); copy "
            "them again"
        ) from None
    return layer
