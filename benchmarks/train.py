"""Training against the trainer of sentence-transformers: same batches, loss and precision."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.encode import sentence_transformer
from benchmarks.harness import Comparison, Options, interleave, progress
from bias_bench.data.mini import training_texts, training_topics
from bias_bench.data.pairs import Pairs, pairs_from_collection
from bias_bench.encoders.backbone import BUNDLED_NAME, Loaded, resolve_backbone
from bias_bench.encoders.profile import Profile

TEMPERATURE, CLIP, RATE, DECAY = 0.03, 1.0, 3e-5, 0.01
BATCH = 64


def compare(options: Options) -> list[Comparison]:
    """Whole runs on hybrid batches: tokens, forward, backward, clipping, optimizer; in bf16."""
    steps = 2 if options.quick else 6
    setting = make_setting(options, steps)
    ours, peer = Ours(setting, {}), _Peer(setting)
    ours()  # both have met their memory before the clock runs
    peer()
    progress(f"last losses: {ours.loss:.4f} and {peer.loss:.4f}")
    times = interleave(ours, peer, options.pairs_or(3))
    note = f"{steps} steps of {BATCH}; peer: SentenceTransformerTrainer"
    return [Comparison("train bf16", times, "≥ 1.2×", note)]


class Setting(NamedTuple):
    """The encoder with the vocabulary of `texts` alone, the same in sentence-transformers, the
    embedded training pairs, and the rows of each batch.
    """

    loaded: Loaded
    peer: Any
    profile: Profile
    pairs: Pairs
    rows: np.ndarray


def make_setting(options: Options, steps: int) -> Setting:
    """What is trained on what, the same for all who are timed."""
    import torch

    from bias_bench.training.plan import BatchPlan
    from bias_bench.training.vocabulary import trim_vocabulary

    torch.set_num_threads(options.threads)
    backbone = resolve_backbone(f"bundled:{BUNDLED_NAME}")
    prefixes = (backbone.profile.query_prefix, backbone.profile.candidate_prefix)
    texts = [prefix + text for prefix in prefixes for text in training_texts()]
    loaded = backbone.load()
    peer = sentence_transformer(loaded)
    peer.max_seq_length = 96
    for model in (loaded.model, peer[0].auto_model):
        trim_vocabulary(Loaded(model, loaded.tokenizer), texts)
    pairs = pairs_from_collection(training_topics())
    rows = BatchPlan(pairs, {"mono": 0.5, "cross": 0.5}, BATCH, seed=0).epoch(0)[:steps]
    return Setting(loaded, peer, backbone.profile, pairs, rows)


class Ours:
    """A training run of this package, with further terms of the objective if any."""

    def __init__(self, setting: Setting, terms: dict[str, Any]) -> None:
        self._setting, self._terms = setting, terms
        self.loss = float("nan")

    def __call__(self) -> None:
        from bias_bench.config.training import TrainingSettings
        from bias_bench.training.job import Job
        from bias_bench.training.loop import Folders, train

        settings = TrainingSettings(
            steps=len(self._setting.rows), terms=self._terms, batch_size=BATCH,
            learning_rate=RATE, weight_decay=DECAY,
            temperature=TEMPERATURE, clip=CLIP, held_out=0.0, checkpoint_every=10**6,
            mixture={"mono": 0.5, "cross": 0.5},
        )  # fmt: skip
        own = self._setting.loaded
        loaded = Loaded(copy.deepcopy(own.model), own.tokenizer)
        job = Job(loaded, self._setting.profile, settings, 0, "cpu", bf16=True, digest="benchmark")
        with tempfile.TemporaryDirectory(prefix="biasbench-") as folder:
            log = Path(folder) / "train.jsonl"
            train(job, self._setting.pairs, Folders(log, Path(folder) / "checkpoints"))
            self.loss = float(log.read_text().splitlines()[-1].split('"loss": ')[1].split(",")[0])


class _Peer:
    """The peer's trainer over the pairs of the same batches, in their order."""

    def __init__(self, setting: Setting) -> None:
        from datasets import Dataset

        pairs, chosen = setting.pairs, setting.rows.reshape(-1)
        query, candidate = setting.profile.query_prefix, setting.profile.candidate_prefix
        self._data = Dataset.from_dict(
            {
                "anchor": [query + pairs.query_texts[row] for row in pairs.query[chosen]],
                "positive": [
                    candidate + pairs.candidate_texts[row] for row in pairs.candidate[chosen]
                ],
            }
        )
        self._model, self._steps = setting.peer, len(setting.rows)
        self.loss = float("nan")

    def __call__(self) -> None:
        from sentence_transformers import (
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from sentence_transformers.losses import MultipleNegativesRankingLoss

        model = copy.deepcopy(self._model)
        with tempfile.TemporaryDirectory(prefix="biasbench-") as folder:
            arguments = SentenceTransformerTrainingArguments(
                output_dir=folder, max_steps=self._steps, per_device_train_batch_size=BATCH,
                learning_rate=RATE, weight_decay=DECAY, max_grad_norm=CLIP, bf16=True,
                use_cpu=True, save_strategy="no", logging_strategy="no", report_to="none",
                disable_tqdm=True, dataloader_drop_last=True,
            )  # fmt: skip
            trainer = SentenceTransformerTrainer(
                model=model,
                args=arguments,
                train_dataset=self._data,
                loss=MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE),
            )
            self.loss = trainer.train().training_loss
