"""A run in plain sentences: pure functions from numbers to text, and those that a run's page has.

A sentence claims a difference only where its interval excludes none (or its test rejects it), says
"could be shown" where it does not, and "not tested" where nothing was. Sentences about one run
never say that it is better than another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bias_bench.data.languages import language_name
from bias_bench.evaluation.metrics_document import (
    FriedmanResult,
    IndexRecall,
    Perturbed,
    ProbeRecord,
)
from bias_bench.evaluation.settings import parse_setting
from bias_bench.report.run_content import RunContent
from bias_bench.report.run_statistics import CONFIDENCE, Estimate
from bias_bench.report.run_tables import average_rows, robustness_rows
from bias_bench.report.wording import (
    are,
    bracketed,
    capital,
    decimal,
    listed,
    p_value,
    percent,
    perturbation_name,
    places,
    points,
    with_sign,
)

LEVEL = round(1 - CONFIDENCE, 10)
_FEW = 50  # units, below which percentile intervals hold in fewer cases than they say


def sentences(content: RunContent) -> list[str]:
    """What the page says of the run first; only of what was measured."""
    metrics, statistics, languages = content.metrics, content.statistics, content.languages
    bias, robust = metrics.bias, metrics.robustness
    texts = [retrieval(content.precision, len(languages), metrics.average_precision)]
    texts += [average(*row) for row in average_rows(metrics) if row[2]]
    if metrics.index:
        texts.append(index_recall(metrics.index))
    if statistics and statistics.crossing:
        texts.append(crossing(statistics.crossing, statistics.parallel))
    texts += _bias_sentences(content)
    if statistics and statistics.precision_by_language:
        by_language, from_mean = statistics.precision_by_language, statistics.precision_from_mean
        texts.append(query_languages(by_language, from_mean))
    # with BM25 the order of what it does not find is that of the ids
    if bias.friedman and not metrics.found:
        texts.append(candidate_languages(bias.friedman.all_queries, bias.friedman.unit))
    if bias.language_probe:
        texts.append(language_probe(bias.language_probe))
    if robust and (worst := robustness(robust.perturbations, content.searched_ap)):
        texts.append(worst)
    if content.training:
        texts.append(training(content.training[-1].step, content.evaluations))
    if statistics:
        known = any(estimate.known for estimate in statistics.precision.values())
        texts.append(basis(statistics.topics, statistics.unit, statistics.units, known))
    return [text.replace(" %", "\N{NO-BREAK SPACE}%") for text in texts]


def _bias_sentences(content: RunContent) -> list[str]:
    bias, statistics, languages = content.metrics.bias, content.statistics, content.languages
    texts = []
    measured = bias.rank_distance
    if statistics and statistics.distance and measured:
        whole = sum(statistics.pools.values()) - 1 if statistics.pools else None
        texts.append(
            distance(
                statistics.distance,
                measured.median,
                len(languages) - 1 if statistics.parallel and measured.cutoff is None else None,
                whole if measured.cutoff is None else measured.cutoff,
                measured.found.share if measured.found else None,
                measured.cutoff,
            )
        )
    if first := bias.same_language_first:
        excess = statistics.first_excess if statistics else None
        texts.append(preference(first.macro, first.chance.macro, excess))
    if bias.same_language_top1:
        parts = {name: means.macro for name, means in bias.top_hit.items() if means}
        share = 1 / len(languages) if statistics and statistics.pools else None
        texts.append(first_results(bias.same_language_top1.macro, share, parts))
    return texts


def lexical_note(content: RunContent) -> str | None:
    """For a lexical run: how much it finds at all, and what that means for ranks."""
    shares: dict[str, list[float]] = {}
    for setting, share in (content.metrics.found or {}).items():
        shares.setdefault(parse_setting(setting).kind, []).append(share)
    if not shares:
        return None
    means = {kind: sum(values) / len(values) for kind, values in shares.items()}
    return unmatched(means).replace(" %", "\N{NO-BREAK SPACE}%")


def retrieval(precision: Mapping[str, Estimate], languages: int, metric: str = "AP") -> str:
    """AP by kind of setting; `metric` is AP or AP down to a cut-off."""
    where = {
        "monolingual": "with queries and candidates in one language",
        "cross_lingual": "with candidates in another language than the query",
        "multilingual": f"in the pool of all {languages} languages",
    }
    parts: list[str] = []
    for kind in [kind for kind in where if kind in precision]:
        interval = bracketed(precision[kind], decimal, named=not parts)
        parts.append(f"{decimal(precision[kind].value)} {where[kind]}{interval}")
    return f"Average precision ({metric}, from 0 to 1, higher is better) is {listed(parts)}."


def unmatched(shares: Mapping[str, float]) -> str:
    """Share of the relevant candidates that a lexical system finds, by kind of setting."""
    where = {
        "monolingual": "in one language",
        "cross_lingual": "across two",
        "multilingual": "in the pool of all",
    }
    parts = [f"{percent(shares[kind])} {where[kind]}" for kind in where if kind in shares]
    return (
        f"Of the relevant candidates {listed(parts)} have a term of the query. All others stand "
        "behind what was found, in the order of their ids: their ranks are chance, and so are most "
        "rank distances and rank differences between languages."
    )


def average(name: str, number: int, values: Mapping[str, float]) -> str:
    """nDCG@10 and R@100 over a named set of this many languages."""
    figures = [f"{key} is {decimal(values[key])}" for key in ("nDCG@10", "R@100") if key in values]
    return f"In the mean of {number} languages ({name}) {listed(figures)}."


def crossing(cost: Estimate, parallel: bool) -> str:
    """Monolingual less cross-lingual AP; `parallel`: on the same topics in all settings."""
    caveat = "" if parallel else " The settings differ in topics too, not in language alone."
    if cost.known and not cost.sign:
        return (
            "No difference between AP in one language and across two could be shown "
            f"({with_sign(cost.value, decimal)}{bracketed(cost, decimal, bare=True)}).{caveat}"
        )
    side = "lower" if cost.value > 0 else "higher"
    tested = (
        bracketed(cost, decimal, flip=cost.value < 0) if cost.known else "; this was not tested"
    )
    return (
        f"Across two languages AP is {decimal(abs(cost.value))} {side} than in one{tested}.{caveat}"
    )


def distance(
    mean: Estimate,
    median: float,
    floor: int | None,
    ceiling: int | None,
    found: float | None,
    cutoff: int | None = None,
) -> str:
    """Rank distance, and the least and the most that it can be, as far as they are known.

    `found` is the share of queries with a parallel answer in the top ten; `cutoff` is down to where
    ranks are known, if not all are.
    """
    bounds = [f"at least {floor}"] if floor is not None else []
    bounds += [f"at most {ceiling:,}"] if ceiling is not None else []
    possible = f"possible are {listed(bounds)}, and " if bounds else ""
    text = (
        "In the pool of all languages the first and the last answer to one question, over its "
        f"languages, are {places(mean.value)} ranks apart in the mean{bracketed(mean, places)} and "
        f"{places(median)} in the median; "
        f"{possible}lower is better. This says how far the hardest translation stands behind, not "
        "which language is preferred."
    )
    if cutoff is not None:
        text += (
            f" Ranks are known down to {cutoff:,} only, so these are the least distances that the "
            "rankings allow."
        )
    if found is not None:
        text += (
            f" At least one of them is among the first ten results for {percent(found)} of the "
            "queries."
        )
    return text


def preference(share: float, chance: float, excess: Estimate | None) -> str:
    """Same language first against its chance."""
    text = (
        f"The answer in the query's own language is ranked before its translations for "
        f"{percent(share)} of the queries; without preference it would be {percent(chance)}."
    )
    if excess is None or not excess.known:
        return f"{text} Whether that is more than chance was not tested."
    interval = bracketed(excess, points, unit=" points")
    if excess.sign > 0:
        return f"{text} The excess{interval} shows a preference for the query's language."
    if excess.sign < 0:
        return f"{text} The deficit{interval} shows that other languages are preferred."
    return f"{text} The difference{interval} is compatible with no preference."


def first_results(same: float, pool: float | None, parts: Mapping[str, float]) -> str:
    """Language and relevance of the first result; `pool` is a language's mean share of the pool."""
    text = f"The first result is in the query's language for {percent(same)} of the queries"
    if pool is not None:
        text += f", while {percent(pool)} of the pool are"
    if {"other_same", "other_other"} <= parts.keys():
        text += (
            f"; {percent(parts['other_same'])} of the first results are wrong and in the query's "
            f"language, {percent(parts['other_other'])} wrong and in another"
        )
    return f"{text}."


def query_languages(values: Mapping[str, Estimate], from_mean: Mapping[str, Estimate]) -> str:
    """Which query languages the system serves best in the pool."""
    best = max(values, key=lambda language: (values[language].value, language))
    worst = min(values, key=lambda language: (values[language].value, language))
    text = (
        f"Pooled AP is highest for {language_name(best)} queries ({decimal(values[best].value)}) "
        f"and lowest for {language_name(worst)} ones ({decimal(values[worst].value)}), as "
        "measured; neighbours in this order were not tested against each other."
    )
    if not from_mean or not all(difference.known for difference in from_mean.values()):
        return f"{text} Differences between query languages were not tested."
    above = [language_name(name) for name, difference in from_mean.items() if difference.sign > 0]
    below = [language_name(name) for name, difference in from_mean.items() if difference.sign < 0]
    if not above and not below:
        return f"{text} No query language could be shown to differ from the mean of all."
    parts = []
    if above:
        parts.append(f"above the mean of all {are(above)}")
    if below:
        parts.append(f"below {'it' if above else 'the mean of all'} {are(below)}")
    rest = len(from_mean) - len(above) - len(below)
    if rest:
        parts.append(f"for the other {rest if rest > 1 else 'one'} no difference could be shown")
    return f"{text} {capital('; '.join(parts))}."


def candidate_languages(friedman: FriedmanResult, unit: str) -> str:
    """Whether candidate languages are ranked in a systematic order; `unit` is what blocks are."""
    p, blocks, places_of = friedman.p, friedman.blocks, friedman.relative_ranks
    test = f"Friedman test over {blocks:,} {unit}s, taken as independent, {p_value(p)}"
    if p >= LEVEL or not places_of:
        return f"No systematic order among candidate languages could be shown ({test})."
    first = min(places_of, key=lambda language: (places_of[language], language))
    last = max(places_of, key=lambda language: (places_of[language], language))
    return (
        f"Candidate languages are not ranked alike ({test}): on a scale from 0 (always first among "
        f"the translations) to 1 (always last), {language_name(first)} is at "
        f"{places_of[first]:.2f} and {language_name(last)} at {places_of[last]:.2f}."
    )


def training(steps: int, evaluations: Sequence[tuple[int, float]]) -> str:
    """The course of training; `evaluations` are steps with their validation losses."""
    text = f"The encoder was trained for {steps:,} steps"
    if evaluations:
        best = min(evaluations, key=lambda evaluation: (evaluation[1], evaluation[0]))
        text += (
            f"; the loss on held-out pairs was lowest after step {best[0]:,} ({best[1]:.3f}), and "
            "the encoder of that step was kept"
        )
    else:
        text += ", without held-out pairs to choose a step by; the last one was kept"
    return f"{text}. It was trained once, so what another seed would change is not known."


def language_probe(probe: ProbeRecord) -> str:
    """How well the language can be told from an embedding."""
    text = (
        f"A linear classifier tells the language of an embedding for {percent(probe.macro)} of "
        f"{probe.texts:,} texts, where naming the most frequent language would do for "
        f"{percent(probe.chance)}"
    )
    if probe.before:
        text += f"; before training it was {percent(probe.before.macro)}"
    return f"{text} (not tested)."


def robustness(
    perturbations: Mapping[str, Mapping[str, Perturbed]], metric: str = "pooled AP"
) -> str | None:
    """The perturbation that costs most AP; None where none was measured."""
    losses = {(kind, strength): mean for kind, strength, mean, _ in robustness_rows(perturbations)}
    if not losses:
        return None
    kind, strength = max(losses, key=lambda variant: (losses[variant].loss, variant))
    worst = losses[kind, strength]
    if worst.loss <= 0:
        return f"No perturbation of the questions lowers mean {metric}, of {len(losses)} tried."
    return (
        f"Of {len(losses)} ways to perturb the questions, {metric} loses most to "
        f"{perturbation_name(kind)} ({strength}): from {decimal(worst.ap_clean)} to "
        f"{decimal(worst.ap)} in the mean over languages (not tested)."
    )


def basis(topics: int, unit: str, units: int, known: bool) -> str:
    """What the intervals rest on, and what they do not say."""
    over = f"{units:,} {unit}s" if unit == "topic" else f"{units:,} {unit}s with {topics:,} topics"
    if not known:
        return f"There are {over}: too few for intervals that could be trusted, so none are given."
    short = f" With so few {unit}s they are a little too short." * (units < _FEW)
    return (
        f"Intervals are {100 * CONFIDENCE:g} % bootstrap intervals over {over}, each for itself; "
        "those of query languages against their mean are widened so as to hold for all at once. "
        f"They say how far the means depend on the choice of {unit}s, not what other collections "
        f"would give.{short}"
    )


def index_recall(index: IndexRecall) -> str:
    """What was searched through, and what it finds of the exact results, at worst in which pool."""
    parts = [
        f"{percent(value)} of the exact first {name.partition('@')[2]} "
        f"({percent(index.lowest[name].value)} in the pool {index.lowest[name].pool})"
        for name, value in index.macro.items()
    ]
    return (
        f"Searched through approximate indexes ({index.kind}), which on average find "
        f"{listed(parts)}."
    )
