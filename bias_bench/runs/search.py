"""The stages encode and search of an encoder: a benchmark's vectors, and what they find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bias_bench import __version__
from bias_bench.encoders.embeds import Embeds
from bias_bench.evaluation.run_record import DebiasRecord
from bias_bench.evaluation.settings import searched_languages
from bias_bench.runs.graph import Made, Stage, Work
from bias_bench.runs.indexed import describe_index, search_indexes
from bias_bench.runs.task import Prepared, search_settings
from bias_bench.runs.vectors import encoded, how_much, vector_search
from bias_bench.system.files import write_json

VECTORS_FILE = "vectors.json"


def encode_stage(
    prepared: Prepared,
    source: Callable[[], Embeds],
    needs: tuple[str, ...],
    inputs: Callable[[], dict[str, Any]],
) -> Stage:
    """The benchmark's vectors, into the cache; the run folder gets the list of them."""

    def work(work: Work) -> Made:
        embeds = source()
        encoded(prepared, embeds, work)
        if work.processes.rank > 0:
            return Made([])
        keys = [texts.key for texts in embeds.texts(prepared.requests())]
        path = work.folder / VECTORS_FILE
        write_json(path, {"source": embeds.identity, "vectors": keys})
        debias = embeds.record.get("debias")
        fields = {"debias": DebiasRecord.model_validate(debias)} if debias else {}
        return Made([path], fields)

    def forecast(changed: Sequence[str]) -> str:
        return how_much(source, prepared.requests(), changed)

    return Stage("encode", work, inputs, needs, shared=True, forecast=forecast)


def search_stage(prepared: Prepared, source: Callable[[], Embeds]) -> Stage:
    """Every setting searched: TREC files, and the exact ranks of all relevant candidates."""
    collection, index = prepared.collection, describe_index(prepared)

    def work(work: Work) -> Made:
        vectors = encoded(prepared, source(), work)
        if index:
            return search_indexes(prepared, vectors, work)
        find = vector_search(prepared, vectors, work.memory, work.processes)
        if work.processes.rank == 0:
            return Made(search_settings(prepared, find, work.folder))
        for language in searched_languages(collection):
            find(language)
        return Made([])

    def inputs() -> dict[str, Any]:
        return {
            "depth": prepared.experiment.retrieval.depth,
            "tag": prepared.tag,
            "biasbench": __version__,
            **({"index": index} if index else {}),
        }

    # what is searched block by block is shared; of all in memory the search takes no time
    shared = not index and not collection.parallel
    return Stage("search", work, inputs, ("encode",), shared)
