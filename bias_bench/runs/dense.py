"""The graph of an encoder: audit, mine, train, encode, search, score, robustness, probe, metrics.

Stages that an experiment does not ask for are not in its graph.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from bias_bench.config.experiment import Experiment, experiment_yaml
from bias_bench.encoders.cached import CachedBackbone
from bias_bench.encoders.debiased import Debiased
from bias_bench.encoders.embeds import Embeds
from bias_bench.evaluation.metrics import parse_metric, scored_metrics
from bias_bench.evaluation.run_record import Encoding, ObjectRecord
from bias_bench.report.run_content import EXAMPLES_SCHEMA
from bias_bench.runs.backbone import find_backbone
from bias_bench.runs.debiasing import debias_fitting
from bias_bench.runs.examples import examples
from bias_bench.runs.folder import RunOptions
from bias_bench.runs.graph import Graph
from bias_bench.runs.indexed import INDEX_FILE
from bias_bench.runs.measured import metrics_stage, score_stage
from bias_bench.runs.prepare import NOTHING, Given, prepare
from bias_bench.runs.probe import PROBE_FILE, make_sample, probe_stage
from bias_bench.runs.robustness import ROBUSTNESS_FILE, robustness_stage
from bias_bench.runs.search import encode_stage, search_stage
from bias_bench.runs.task import approximate_index, describe_task, measure
from bias_bench.runs.training import (
    MODEL,
    PAIRS_FILE,
    TRAINING_LOG,
    TrainingSide,
    asks_for_mining,
)

INTERFACE = "bias_bench.evaluate"  # where Python objects come in


def dense_graph(
    experiment: Experiment, options: RunOptions, folder: Path, given: Given = NOTHING
) -> Graph:
    """The graph of an encoder; reads and hashes files, and loads no model."""
    prepared = prepare(experiment, options, given)
    depth = experiment.retrieval.depth
    further = [parse_metric(name) for name in experiment.metrics]
    scored_metrics(depth, depth if approximate_index(prepared) else None, further)
    trains, debiases = bool(experiment.training.steps), experiment.debias != "none"
    training = TrainingSide(prepared, folder) if trains or debiases else None

    @cache
    def evaluated() -> Embeds:
        """What is evaluated before debiasing: the trained encoder, once it is there."""
        if not trains:
            return prepared.source
        trained = find_backbone(str(folder / MODEL))._replace(spec=prepared.source.spec)
        return CachedBackbone(trained, prepared.settings)

    @cache
    def source() -> Embeds:
        if training is None or not debiases:
            return evaluated()
        return Debiased(evaluated(), debias_fitting(prepared, training.data.pairs))

    def encode_inputs() -> dict[str, Any]:
        return {
            "source": evaluated().identity,
            "collection": prepared.collection.fingerprint,
            "context": experiment.candidate.context,
            "debias": [experiment.debias, experiment.seed if debiases else None],
        }

    model = (f"train:{MODEL}/*",) if trains else ()
    pairs = (f"audit:{PAIRS_FILE}",) if debiases else ()
    sample = make_sample(prepared)
    stages = [
        *([training.audit_stage(options.fetch)] if training else []),
        *([training.mine_stage(options.fetch)] if training and asks_for_mining(prepared) else []),
        *([training.train_stage()] if training and trains else []),
        encode_stage(prepared, source, (*model, *pairs), encode_inputs),
        search_stage(prepared, source),
        score_stage("search", lambda _: depth, experiment.metrics),
        *([robustness_stage(prepared, source)] if experiment.robustness else []),
        *(
            [probe_stage(prepared, sample, source, TRAINING_LOG if trains else None)]
            if sample
            else []
        ),
    ]
    files = {
        "robustness": ROBUSTNESS_FILE if experiment.robustness else None,
        "probe": PROBE_FILE if sample else None,
        "index": INDEX_FILE if approximate_index(prepared) else None,
    }
    measured = metrics_stage(
        tuple(stage.name for stage in stages if stage.name in _MEASURED),
        lambda work, read: measure(prepared, work, read),
        {name: file for name, file in files.items() if file},
        lambda folder: examples(prepared, folder),
        {"examples": EXAMPLES_SCHEMA},
    )
    described = prepared.source.record
    record = describe_task(prepared, folder.name).model_copy(
        update={
            "weights": described["weights"],
            "encoding": Encoding.model_validate(described["encoding"]),
            **(
                {"model": ObjectRecord.model_validate(described["model"])}
                if "model" in described
                else {}
            ),
            **({"interface": INTERFACE} if given != NOTHING else {}),
            **({} if debiases else {"debias": None}),
        }
    )
    return Graph(record, experiment_yaml(experiment), [*stages, measured])


_MEASURED = ("search", "score", "robustness", "probe")
