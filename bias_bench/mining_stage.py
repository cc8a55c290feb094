"""The work of mining: the texts of the pairs encoded, searched, and kept as a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bias_bench.console import say
from bias_bench.datasets.pairs import Pairs
from bias_bench.encoders.backbone import Backbone, resolve_backbone
from bias_bench.encoders.cache import Request, cache_folder, encode_cached
from bias_bench.encoders.encoder import EncodingSettings
from bias_bench.errors import UsageError
from bias_bench.negatives.mining import Mined, mine
from bias_bench.negatives.settings import MiningSettings
from bias_bench.negatives.store import read_negatives, write_negatives
from bias_bench.stages import Prepared
from bias_bench.training.hard_negatives import HardNegatives, mined_negatives

NEGATIVES_FILE = "negatives.jsonl.gz"


def mine_stage(prepared: Prepared, pairs: Pairs | None, folder: Path) -> None:
    """Mine what the experiment would train with; UsageError when it trains without."""
    wanted = prepared.experiment.training.negatives
    if pairs is None or wanted is None or wanted.source != "mined":
        raise UsageError(
            f"recipe {prepared.experiment.recipe} mines nothing; take one that does, for example "
            "--recipe hybrid-hard, or --set training.negatives.source=mined"
        )
    hard_negatives(prepared, pairs, None, folder)
    say(f"negatives: {folder / NEGATIVES_FILE}")


def hard_negatives(
    prepared: Prepared, pairs: Pairs, given: HardNegatives | None, folder: Path
) -> HardNegatives | None:
    """What the experiment trains with: none, those given with the data, or mined ones.

    Mined ones are kept in ``<folder>/negatives.jsonl.gz`` and read from there when it is resumed.
    """
    wanted = prepared.experiment.training.negatives
    if wanted is None or given is not None:
        return given
    backbone, settings = prepared.backbone, prepared.settings
    if wanted.encoder:
        backbone = resolve_backbone(wanted.encoder, prepared.experiment.seed)
        settings = replace(settings, profile=backbone.profile)
    seed, path = prepared.experiment.seed, folder / NEGATIVES_FILE
    provenance = mining_provenance(backbone, settings, pairs, wanted.mining, seed)
    if path.is_file():
        stored = read_negatives(path, pairs)
        if stored.provenance == provenance:
            return mined_negatives(pairs, stored.mined)
    mined = mine_pairs(backbone, settings, pairs, wanted.mining, seed)
    write_negatives(path, mined, pairs, provenance)
    return mined_negatives(pairs, mined)


def mining_provenance(
    backbone: Backbone, settings: EncodingSettings, pairs: Pairs, mining: MiningSettings, seed: int
) -> dict[str, Any]:
    """Everything that decides what is mined."""
    return {
        "encoder": backbone.spec,
        "weights": backbone.sha256,
        "profile": settings.profile.model_dump(),
        "precision": settings.precision,
        "settings": mining.model_dump(exclude={"memory_mb"}),
        "seed": seed,
        "pairs": pairs.fingerprint,
    }


def mine_pairs(
    backbone: Backbone, settings: EncodingSettings, pairs: Pairs, mining: MiningSettings, seed: int
) -> Mined:
    """Encode the texts that the pairs use (cached) and mine them."""
    sides = ((pairs.query, pairs.query_texts), (pairs.candidate, pairs.candidate_texts))
    used = [np.unique(rows) for rows, _ in sides]
    requests = [
        Request("queries to mine for", "query", [pairs.query_texts[row] for row in used[0]]),
        Request("candidates to mine", "candidate", [pairs.candidate_texts[row] for row in used[1]]),
    ]
    found = encode_cached(backbone, settings, requests, cache_folder())
    vectors = []
    for (_, texts), rows, own in zip(sides, used, found, strict=True):
        whole = np.zeros((len(texts), own.shape[1]), dtype=np.float32)
        whole[rows] = own
        vectors.append(whole)
    mined = mine(pairs, vectors[0], vectors[1], mining, seed)
    say(
        f"hard negatives mined by {backbone.spec}: {mined.share_found(used[0]):.1%} of "
        f"{mining.number} for each of {len(used[0]):,} queries"
    )
    return mined
