"""The embedded training topics, disjoint in subject and text from the benchmark ``mini``.

Both were written for this project. The training files have the same form as the benchmark's.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files as package_files
from pathlib import Path

from bias_bench.data.collection import Collection
from bias_bench.data.squad import load_lareqa


@cache
def training_topics() -> Collection:
    """Question and answer sentence of every training topic, in all languages of ``mini``."""
    folder = Path(str(package_files("bias_bench.data").joinpath("mini-train")))
    return load_lareqa("mini-train", {path.stem: path for path in sorted(folder.glob("*.json"))})


def training_texts() -> list[str]:
    """All texts of the training topics, in a fixed order."""
    topics = training_topics()
    return [query.text for query in topics.queries] + [item.text for item in topics.candidates]
