"""A backbone as an experiment sets it: its profile with every origin, and what it cannot do."""

from __future__ import annotations

from typing import Any

from bias_bench.encoders.backbone import Backbone
from bias_bench.encoders.modules import NONE
from bias_bench.encoders.profile import PROFILE_FILE
from bias_bench.errors import UsageError
from bias_bench.experiment import Experiment

_SHOWN = 60  # characters of a prefix


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


def require_debiasable(backbone: Backbone, experiment: Experiment) -> None:
    """UsageError where debiasing, which gives vectors of length 1, would undo inner products."""
    if experiment.debias != "none" and similarity_of(backbone) == "dot":
        raise UsageError(
            f"debias={experiment.debias} scales vectors to length 1, and {backbone.spec} is "
            "compared by inner product; take similarity cosine, or no debiasing"
        )


def similarity_of(backbone: Backbone) -> str:
    """``cosine`` or ``dot``, of a given model too."""
    given = backbone.given
    return str(given.record["similarity"]) if given else backbone.profile.similarity


def recorded(backbone: Backbone) -> dict[str, Any]:
    """The part of the manifest that says how texts become vectors, and who says so."""
    profile = backbone.profile
    fields = [*profile.model_dump(), *(() if profile.similarity == "dot" else ("similarity",))]
    return {
        "profile": profile.model_dump(),
        "similarity": profile.similarity,
        "origin": {field: backbone.origin.get(field, "unknown") for field in fields},
        **({"after_pooling": list(backbone.steps)} if backbone.steps else {}),
    }


def described(backbone: Backbone) -> str:
    """One line that says how texts become vectors, and who says so."""
    if backbone.given:
        return backbone.given.described
    profile, origin = backbone.profile, backbone.origin

    def part(text: str, *fields: str) -> str:
        where = dict.fromkeys(origin.get(field, "") for field in fields)
        return f"{text} ({', '.join(where)})"

    lengths = dict.fromkeys((profile.query_max_length, profile.candidate_max_length))
    parts = [
        _prefix("queries", profile.query_prefix, origin.get("query_prefix", NONE)),
        _prefix("candidates", profile.candidate_prefix, origin.get("candidate_prefix", NONE)),
        part(f"{profile.pooling} pooling", "pooling"),
        part(
            f"at most {' and '.join(map(str, lengths))} tokens",
            "query_max_length",
            "candidate_max_length",
        ),
        part(profile.similarity, "similarity"),
    ]
    if not profile.include_prompt:
        parts.insert(3, part("without the prefix", "include_prompt"))
    return "; ".join([*parts[:-1], *(f"then {step}" for step in backbone.steps), parts[-1]])


def _prefix(side: str, prefix: str, origin: str) -> str:
    if not prefix and origin == NONE:
        return f"{side} without a prefix ({NONE})"
    shown = prefix if len(prefix) <= _SHOWN else f"{prefix[:_SHOWN]}…"
    return f"{side} with '{shown}' ({origin})" if prefix else f"{side} without a prefix ({origin})"
