"""A comparison in plain sentences: what was shown of each system, and what was not.

A system is called better or worse only where the test of that macro average says so.
"""

from __future__ import annotations

from bias_bench.report.comparison_numbers import Numbers, kinds_of, labels
from bias_bench.significance.document import Cell, ComparisonDocument

_WHERE = {
    "monolingual": "in one language",
    "cross_lingual": "across two languages",
    "multilingual": "in the pool of all languages",
}


def comparison_sentences(result: ComparisonDocument, numbers: Numbers) -> list[str]:
    """A sentence for each system and kind of setting, the systems in their order."""
    baseline = labels(result)[result.baseline]
    return [
        _sentence(entry.label, baseline, _WHERE[kind], entry.groups[kind], numbers)
        for entry in result.systems
        for kind in kinds_of(entry)
    ]


def _sentence(label: str, baseline: str, where: str, cell: Cell, numbers: Numbers) -> str:
    result = numbers.result
    values = (
        f"{result.metric} {numbers.value(cell.system)} against "
        f"{numbers.value(cell.baseline)}, difference {numbers.signed(cell.difference)}"
    )
    if not result.significance:
        return f"{where.capitalize()}, {label} has {values} to {baseline}; this was not tested."
    evidence = (
        f"{values}, {result.percent} % interval {numbers.interval(cell.interval)}, "
        f"adjusted p {numbers.p(cell.p_adjusted).replace('<', '< ')}"
    )
    if not numbers.shown(cell):
        return (
            f"{where.capitalize()}, no difference between {label} and {baseline} could be shown "
            f"({evidence})."
        )
    word = numbers.count_words[0 if numbers.gain(cell.difference) > 0 else 1]
    return f"{where.capitalize()}, {label} is {word} than {baseline} ({evidence})."
