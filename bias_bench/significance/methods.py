"""The methods paragraph of a comparison, from the options that it had, and what it cites."""

from __future__ import annotations

from bias_bench.significance.document import SEED_BOOTSTRAP, SIGN_FLIPS, ComparisonDocument
from bias_bench.significance.draws import FEW_UNITS, all_signs_fit

KIND_WORDS = {
    "monolingual": "monolingual",
    "cross_lingual": "cross-lingual",
    "multilingual": "pooled",
}
PARAGRAPHS = (
    "Paragraphs of one article are taken as independent; where they are not, tests err more often "
    "than they say: on XQuAD-R a nominal 5 % was up to 27 %."
)
_REFERENCES = {
    "Smucker et al. 2007": "Smucker, Allan, Carterette. A comparison of statistical significance "
    "tests for information retrieval evaluation. CIKM 2007.",
    "Westfall and Young 1993": "Westfall, Young. Resampling-based multiple testing. Wiley 1993.",
    "Boytsov et al. 2013": "Boytsov, Belova, Westfall. Deciding on an adjustment for multiplicity "
    "in IR experiments. SIGIR 2013.",
    "Holm 1979": "Holm. A simple sequentially rejective multiple test procedure. Scandinavian "
    "Journal of Statistics 6(2), 1979.",
    "Benjamini and Hochberg 1995": "Benjamini, Hochberg. Controlling the false discovery rate. "
    "Journal of the Royal Statistical Society B 57(1), 1995.",
    "Efron and Tibshirani 1993": "Efron, Tibshirani. An introduction to the bootstrap. Chapman and "
    "Hall 1993.",
    "Cameron et al. 2008": "Cameron, Gelbach, Miller. Bootstrap-based improvements for inference "
    "with clustered errors. Review of Economics and Statistics 90(3), 2008.",
    "Owen 2007": "Owen. The pigeonhole bootstrap. Annals of Applied Statistics 1(2), 2007.",
    "Hartigan 1969": "Hartigan. Using subsample values as typical values. Journal of the American "
    "Statistical Association 64, 1969.",
    "Cohen 1988": "Cohen. Statistical power analysis for the behavioral sciences, 2nd edition. "
    "Erlbaum 1988.",
    "Schuirmann 1987": "Schuirmann. A comparison of the two one-sided tests procedure and the "
    "power approach. Journal of Pharmacokinetics and Biopharmaceutics 15(6), 1987.",
    "Ihemelandu and Ekstrand 2023": "Ihemelandu, Ekstrand. Inference at scale: significance "
    "testing for large search and recommendation experiments. SIGIR 2023, arXiv:2305.02461.",
}
_CORRECTIONS = {
    "maxt": "family-wise error by step-down max-T over the same draws (Westfall and Young 1993; "
    "Boytsov et al. 2013)",
    "holm": "family-wise error by Holm's method (Holm 1979)",
    "bh": "false discovery rate by the method of Benjamini and Hochberg (Benjamini and Hochberg "
    "1995)",
}
_ALSO = {"t": "Student's t-test", "wilcoxon": "Wilcoxon's signed-rank test"}


def describe(result: ComparisonDocument) -> tuple[list[str], list[str]]:
    """Sentences that say what was done with these options, and the works that they cite."""
    sentences = [_data(result)]
    if result.significance:
        sentences += [_unit(result), *_tests(result), _correction(result), _intervals(result)]
        sentences += _further(result)
    else:
        sentences.append("Nothing was tested: a difference may be chance.")
    text = " ".join(sentences)
    return sentences, [work for cited, work in _REFERENCES.items() if cited in text]


def _data(result: ComparisonDocument) -> str:
    omitted = result.omitted
    text = (
        f"Systems are compared by {result.metric} ({result.unit}; {result.better}) on "
        f"{result.benchmark}, each with the baseline {result.baseline}, over "
        f"{result.topics:,} topics; a topic is one question in all its languages. A macro "
        "average is the mean over settings of each setting's mean over queries."
    )
    if omitted.settings or omitted.topics or omitted.cells:
        text += (
            f" Left out, as not all runs have them: {len(omitted.settings)} settings, "
            f"{omitted.topics:,} topics, {omitted.cells:,} single values."
        )
    return text


def _unit(result: ComparisonDocument) -> str:
    unit = result.cluster
    whole = "topics" if unit == "topic" else f"{unit}s with all their topics"
    too = "" if unit == "topic" else f", and questions about one {unit},"
    text = (
        f"The unit of resampling is the {unit} ({result.clusters:,} of them): {whole} are drawn "
        f"or flipped as one, in all settings together, since the translations of a question{too} "
        "are not independent."
    )
    return f"{text} {PARAGRAPHS}" if unit == "paragraph" else text


def _tests(result: ComparisonDocument) -> list[str]:
    draws, seed, sentences = f"{result.permutations:,}", result.seed, []
    if SIGN_FLIPS in result.tests:
        clusters = result.clusters
        exact = all_signs_fit(clusters, result.permutations or 0)
        number = f"all 2^{clusters}" if exact else f"{draws} random"
        sentences.append(
            f"P-values are two-sided, from the paired randomization test with {number} joint sign "
            f"flips, seed {seed} (Smucker et al. 2007)."
        )
    if SEED_BOOTSTRAP in result.tests:
        sentences.append(
            "Where a system or the baseline has several training seeds, p-values and intervals "
            f"come from {draws} bootstrap replicates over seeds and {result.cluster}s, the "
            f"seeds of each system drawn on their own, seed {seed} (Owen 2007)."
        )
    return sentences


def _correction(result: ComparisonDocument) -> str:
    control = f"Adjusted p-values control the {_CORRECTIONS[result.correction or '']}"
    if result.family == "all":
        return f"{control} over all settings and macro averages of all systems at once."
    counts = {kind: cell.settings for kind, cell in result.systems[0].groups.items()}
    families = [f"the {number} {KIND_WORDS[kind]} settings" for kind, number in counts.items()]
    averages = f"the {len(counts)} macro averages" if len(counts) > 1 else "the macro average"
    families.append(averages)
    more = " Nothing is adjusted over systems." if len(result.systems) > 1 else ""
    text = f"{control} within each family of tests: {'; '.join(families)}.{more}"
    return f"{text} {any_family(result)}".rstrip()


def any_family(result: ComparisonDocument) -> str:
    """How often any family shows a difference where there is none; "" where all are one."""
    kinds, systems = len(result.systems[0].groups), len(result.systems)
    families = (kinds + 1) * systems  # the macro averages are one
    if not result.significance or result.family == "all":
        return ""
    most = 100 * (1 - (1 - result.level) ** families)
    return (
        f"Each of these {families} families errs in about {100 * result.level:.3g} % of "
        f"comparisons without a difference, at least one of them in up to about {most:.0f} %."
    )


def _intervals(result: ComparisonDocument) -> str:
    seeds = SEED_BOOTSTRAP in result.tests
    unit, level = result.cluster, f"{result.percent} %"
    also = " and, where there are several, seeds" if seeds else ""
    adjusted = " With several seeds so is max-T." if seeds and result.correction == "maxt" else ""
    single = (
        f"Intervals are {level} percentile intervals of {result.permutations:,} bootstrap "
        f"replicates over {unit}s (Efron and Tibshirani 1993)."
    )
    if result.clusters < FEW_UNITS:
        by_t = ", or by Student's t where seeds vary too" if seeds else ""
        single = (
            f"With so few {unit}s, {level} intervals are the differences that the sign flips do "
            "not reject, from the means of all their subsets (Hartigan 1969)"
            f"{by_t}."
        )
    return (
        f"{single} Simultaneous ones hold for all members of a family at once: they are from joint "
        f"random signs of the residuals of {unit}s{also}, studentised (Cameron et al. 2008)."
        f"{adjusted} The effect size d_z is the difference over the standard deviation of the "
        f"{unit}s' mean differences, each weighted by its topics as in the difference (Cohen "
        "1988); better, equal and worse count topics."
    )


def _further(result: ComparisonDocument) -> list[str]:
    sentences = []
    seeds = SEED_BOOTSTRAP in result.tests
    if result.margin is not None:
        sentences.append(
            f"Equivalence within ±{result.margin:g}: two one-sided tests from what the "
            "intervals are from (Schuirmann 1987), not adjusted for the number of settings."
        )
    if result.tukey:
        sentences.append(
            "All pairs of systems are compared on the macro averages by step-down max-T over the "
            "pairs of a kind, with the same random signs of clusters"
            f"{' and seeds' if seeds else ''} in all pairs, each in its own spread (Westfall and "
            "Young 1993)."
        )
    if result.also:
        names = " and ".join(_ALSO[name] for name in result.also)
        sentences.append(
            f"{names} on request, not adjusted: blind to clusters, and on large query sets too "
            "often significant (Ihemelandu and Ekstrand 2023)."
        )
    return sentences
