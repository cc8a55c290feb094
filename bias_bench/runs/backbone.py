"""A backbone as an experiment sets it: its profile with every origin, and what it cannot do."""

from __future__ import annotations

from pathlib import Path

from bias_bench.config.experiment import Experiment
from bias_bench.encoders.backbone import Backbone, resolve_backbone
from bias_bench.encoders.cached import CachedBackbone
from bias_bench.encoders.embeds import Embeds
from bias_bench.encoders.encoder import (
    EncodingSettings,
    default_batch_tokens,
    resolve_precision,
)
from bias_bench.encoders.profile import PROFILE_FILE
from bias_bench.encoders.sources import open_source
from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.evaluation.run_files import require_undamaged
from bias_bench.evaluation.run_record import RunRecord


def find_source(experiment: Experiment, device: str, fetch: bool = True) -> Embeds:
    """The source of vectors that the experiment names and sets. UsageError, DataError."""
    encoding, spec = experiment.encoding, experiment.backbone
    source = open_source(spec, encoding.model_dump(exclude_defaults=True), device, fetch)
    if source is not None:
        if experiment.training.steps:
            raise UsageError(f"{spec}: cannot be trained: its weights are not at hand")
        return source
    backbone = as_set(find_backbone(spec, experiment.seed, fetch), experiment)
    settings = EncodingSettings(
        profile=backbone.profile,
        precision=resolve_precision(encoding.precision, device),
        batch_tokens=encoding.batch_tokens or default_batch_tokens(device),
        device=device,
    )
    return CachedBackbone(backbone, settings)


def find_backbone(spec: str, seed: int = 0, fetch: bool = True) -> Backbone:
    """As `resolve_backbone`, of an encoder that a run has trained only if it is as it left it.

    DataError where the manifest beside the encoder's folder says that one of its files differs.
    """
    backbone = resolve_backbone(spec, seed, fetch)
    folder = Path(spec).resolve()
    if folder.is_dir():
        try:
            record = RunRecord.load(folder.parent)
        except BiasBenchError:
            return backbone  # no run folder: nothing says what the files were
        names = [f"{folder.name}/{name}" for name in backbone.sha256]
        require_undamaged(folder.parent, record, names)
    return backbone


def as_set(backbone: Backbone, experiment: Experiment) -> Backbone:
    """The backbone with the profile that the experiment sets, in evaluation and training.

    UsageError for an instruct model without an instruction, for lengths beyond its positions, and
    for training what cannot be trained.
    """
    encoding, training = experiment.encoding, experiment.training
    changed = encoding.model_dump(exclude={"precision", "batch_tokens"}, exclude_none=True)
    origin = dict.fromkeys(changed, "setting")
    profile = backbone.profile
    if training.steps and _is_plain(backbone):
        recipes = {name: getattr(training, name) for name in ("query_prefix", "candidate_prefix")}
        changed, origin = recipes | changed, dict.fromkeys(recipes, "training") | origin
    name = backbone.spec.rstrip("/").rpartition("/")[2]
    stated = profile.query_prefix or backbone.origin.get("query_prefix") == PROFILE_FILE
    if "instruct" in name.lower() and not stated and "query_prefix" not in changed:
        raise UsageError(
            f"{backbone.spec}: an instruct model whose files name no prompt for queries; give its "
            "instruction with --set encoding.query_prefix=…, empty for none"
        )
    result = backbone._replace(
        profile=profile.model_copy(update=changed), origin={**backbone.origin, **origin}
    )
    _require_positions(result, experiment)
    if training.steps:
        _require_trainable(result)
    return result


def _is_plain(backbone: Backbone) -> bool:
    """Whether it is a plain language model: neither files nor a profile say how it pools."""
    return backbone.origin.get("pooling") == "default"


def _require_positions(backbone: Backbone, experiment: Experiment) -> None:
    training = experiment.training
    lengths = {
        f"encoding.{side}_max_length": getattr(backbone.profile, f"{side}_max_length")
        for side in ("query", "candidate")
    }
    if training.steps:
        lengths |= {
            f"training.{side}_max_length": getattr(training, f"{side}_max_length")
            for side in ("query", "candidate")
        }
    for name, length in lengths.items():
        if backbone.positions is not None and length > backbone.positions:
            raise UsageError(
                f"setting {name} = {length}: {backbone.spec} has positions for "
                f"{backbone.positions} tokens"
            )


def _require_trainable(backbone: Backbone) -> None:
    refused = [step for step in backbone.steps if step != "Normalize"]
    if backbone.profile.similarity == "dot":
        what = "compares by inner product; --set encoding.similarity=cosine trains it for that"
    elif refused:
        what = f"has {refused[0]} after pooling, which training would drop"
    elif not backbone.profile.include_prompt:
        what = "leaves its prefixes out of pooling (include_prompt false), which training does not"
    else:
        return
    raise UsageError(f"{backbone.spec}: cannot be trained: it {what}")


def require_debiasable(source: Embeds, experiment: Experiment) -> None:
    """UsageError where debiasing, which gives vectors of length 1, would undo inner products."""
    if experiment.debias != "none" and source.similarity == "dot":
        raise UsageError(
            f"debias={experiment.debias} scales vectors to length 1, and {source.spec} is "
            "compared by inner product; take similarity cosine, or no debiasing"
        )
