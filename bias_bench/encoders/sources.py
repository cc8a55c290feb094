"""Sources of vectors named by a SPEC that are not backbones: they encode in their own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bias_bench.encoders.embeds import Embeds
from bias_bench.encoders.libraries import mteb_model, sentence_transformer
from bias_bench.encoders.server import server_model

Open = Callable[[str, Mapping[str, Any], str, bool], Embeds]
KINDS: dict[str, Open] = {  # by the word before the colon of a SPEC
    "st": sentence_transformer,
    "mteb": mteb_model,
    "openai": server_model,
}


def open_source(
    spec: str, encoding: Mapping[str, Any], device: str, fetch: bool = True
) -> Embeds | None:
    """The source that ``kind:name`` names; None where it names a backbone.

    `encoding` are the settings of that name. UsageError for those that a source cannot follow and
    for one that needs a package which is not installed, DataError for one that is not found.
    """
    kind, _, name = spec.partition(":")
    return KINDS[kind](name, encoding, device, fetch) if name and kind in KINDS else None
