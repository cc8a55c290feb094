"""Sentences about a run: what they say on hand-made numbers, and that they claim no more."""

from __future__ import annotations

import pytest

from bias_bench.evaluation.metrics_document import (
    FriedmanResult,
    PerturbationEffect,
    Perturbed,
    ProbeRecord,
)
from bias_bench.report import summary
from bias_bench.report.run_statistics import Estimate
from tests.support.report_pages import EFFECT

SURE, UNSURE, UNKNOWN = (
    Estimate(0.1, 0.05, 0.15),
    Estimate(0.01, -0.02, 0.04),
    Estimate(0.1),
)
TEXTS = ProbeRecord(macro=0.97, chance=0.0909, texts=2178, per_language={}, cross_covariance=0.1)


def negated(found: Estimate) -> Estimate:
    assert found.low is not None
    assert found.high is not None
    return Estimate(-found.value, -found.high, -found.low)


def test_retrieval_names_every_kind_with_its_interval() -> None:
    precision = {
        "monolingual": Estimate(0.8, 0.785, 0.815),
        "cross_lingual": Estimate(0.7, 0.68, 0.72),
        "multilingual": Estimate(0.6),
    }
    assert summary.retrieval(precision, 11) == (
        "Average precision (AP, from 0 to 1, higher is better) is 0.800 with queries and "
        "candidates in one language (95 % interval 0.785 to 0.815), 0.700 with candidates in "
        "another language than the query (0.680 to 0.720) and 0.600 in the pool of all 11 "
        "languages."
    )
    assert summary.retrieval({"multilingual": UNKNOWN}, 2, "AP@50") == (
        "Average precision (AP@50, from 0 to 1, higher is better) is 0.100 in the pool of all "
        "2 languages."
    )


def test_crossing_claims_a_difference_only_where_the_interval_excludes_none() -> None:
    assert summary.crossing(SURE, parallel=True) == (
        "Across two languages AP is 0.100 lower than in one (0.050 to 0.150)."
    )
    assert summary.crossing(negated(SURE), parallel=True) == (
        "Across two languages AP is 0.100 higher than in one (0.050 to 0.150)."
    )
    assert summary.crossing(UNSURE, parallel=True) == (
        "No difference between AP in one language and across two could be shown (+0.010, −0.020 "
        "to 0.040)."
    )
    assert "not tested" in summary.crossing(UNKNOWN, parallel=True)
    assert "differ in topics too" in summary.crossing(SURE, parallel=False)


def test_distance_stands_beside_its_bounds() -> None:
    assert summary.distance(Estimate(321.4, 300.2, 343.6), 46.36, 10, 13013, 0.917) == (
        "In the pool of all languages the first and the last answer to one question, over its "
        "languages, are 321 ranks apart in the mean (300 to 344) and 46.4 in the median; "
        "possible are at least 10 and at most 13,013, and lower is better. This says how far the "
        "hardest translation stands behind, not which language is preferred. At least one of them "
        "is among the first ten results for 91.7 % of the queries."
    )
    bare = summary.distance(Estimate(7.0), 5, None, None, None)
    assert "are 7 ranks apart in the mean and 5 in the median; lower is better." in bare
    cut = summary.distance(Estimate(7.0), 5, None, 100, None, cutoff=100)
    assert "possible are at most 100" in cut
    assert "known down to 100 only" in cut


@pytest.mark.parametrize(
    ("excess", "claim"),
    [
        (SURE, "The excess (5.0 to 15.0 points) shows a preference for the query's language."),
        (negated(SURE), "(−15.0 to −5.0 points) shows that other languages are preferred."),
        (UNSURE, "The difference (−2.0 to 4.0 points) is compatible with no preference."),
        (UNKNOWN, "not tested."),
        (None, "not tested."),
    ],
)
def test_preference_is_claimed_only_where_it_is_shown(excess: Estimate | None, claim: str) -> None:
    text = summary.preference(0.4, 0.0909, excess)
    assert "for 40 % of the queries; without preference it would be 9.1 %" in text
    assert text.endswith(claim)


def test_first_results_tell_the_failures_of_bias_from_others() -> None:
    parts = {"other_same": 0.166, "other_other": 0.119}
    assert summary.first_results(0.7, 1 / 11, parts) == (
        "The first result is in the query's language for 70 % of the queries, while 9.1 % of the "
        "pool are; 17 % of the first results are wrong and in the query's language, 12 % wrong "
        "and in another."
    )
    assert summary.first_results(0.7, None, {}).endswith("for 70 % of the queries.")


def test_query_languages_are_ranked_only_as_far_as_shown() -> None:
    values = {"en": Estimate(0.7, 0.6, 0.8), "ar": Estimate(0.5, 0.4, 0.6), "th": Estimate(0.6)}
    mixed = {"en": SURE, "ar": negated(SURE), "th": UNSURE}
    text = summary.query_languages(values, mixed)
    assert text == (
        "Pooled AP is highest for English queries (0.700) and lowest for Arabic ones (0.500), as "
        "measured; neighbours in this order were not tested against each other. "
        "Above the mean of all is English; below it is Arabic; for the other one no difference "
        "could be shown."
    )
    below = summary.query_languages(values, {**mixed, "en": UNSURE})
    assert below.endswith(
        "Below the mean of all is Arabic; for the other 2 no difference could be shown."
    )
    none = summary.query_languages(values, dict.fromkeys(values, UNSURE))
    assert none.endswith("No query language could be shown to differ from the mean of all.")
    untested = summary.query_languages(values, dict.fromkeys(values, UNKNOWN))
    assert untested.endswith("were not tested.")


def test_candidate_languages_are_ordered_only_where_the_test_rejects() -> None:
    found = FriedmanResult(
        statistic=12.5, degrees=1, p=0.0004, blocks=48, relative_ranks={"en": 0.31, "th": 0.64}
    )
    assert summary.candidate_languages(found, "article") == (
        "Candidate languages are not ranked alike (Friedman test over 48 articles, taken as "
        "independent, p < 0.001): on a scale from 0 (always first among the translations) to 1 "
        "(always last), English is at 0.31 and Thai at 0.64."
    )
    assert summary.candidate_languages(
        found.model_copy(update={"blocks": 1190, "p": 0.05}), "topic"
    ) == (
        "No systematic order among candidate languages could be shown (Friedman test over 1,190 "
        "topics, taken as independent, p = 0.050)."
    )


def test_training_names_the_step_that_was_kept_and_that_it_was_one_run() -> None:
    text = summary.training(300, [(50, 1.5), (100, 1.2), (150, 1.2)])
    assert "trained for 300 steps; the loss on held-out pairs was lowest after step 100" in text
    assert "what another seed would change is not known" in text
    assert "the last one was kept" in summary.training(3, [])


def test_probe_stands_beside_chance_and_what_was_before() -> None:
    assert summary.language_probe(
        TEXTS.model_copy(update={"before": TEXTS.model_copy(update={"macro": 0.991})})
    ) == (
        "A linear classifier tells the language of an embedding for 97.0 % of 2,178 texts, where "
        "naming the most frequent language would do for 9.1 %; before training it was 99.1 % "
        "(not tested)."
    )
    assert "before" not in summary.language_probe(TEXTS)


def test_robustness_names_the_worst_perturbation() -> None:
    def effect(loss: float) -> Perturbed:
        macro = {**EFFECT, "ap_clean": 0.6, "ap": 0.6 - loss, "loss": loss}
        return Perturbed(macro=PerturbationEffect.model_validate(macro), per_language={})

    found = {
        "typo": {"light": effect(0.05), "strong": effect(0.2)},
        "case": {"strong": effect(0.1)},
    }
    assert summary.robustness(found) == (
        "Of 3 ways to perturb the questions, pooled AP loses most to typing errors (strong): from "
        "0.600 to 0.400 in the mean over languages (not tested)."
    )
    assert "No perturbation" in str(summary.robustness({"typo": {"light": effect(-0.01)}}))
    assert summary.robustness({"typo": {"light": Perturbed(macro=None, per_language={})}}) is None


def test_basis_says_what_intervals_rest_on() -> None:
    text = summary.basis(1190, "paragraph", 240, known=True)
    assert "over 240 paragraphs with 1,190 topics" in text
    assert "too short" not in text
    few = summary.basis(1190, "article", 48, known=True)
    assert few.endswith("With so few articles they are a little too short.")
    assert summary.basis(12, "topic", 12, known=False).endswith("so none are given.")


def test_a_lexical_run_says_what_it_finds_at_all() -> None:
    text = summary.unmatched({"monolingual": 0.96, "cross_lingual": 0.17})
    assert text.startswith(
        "Of the relevant candidates 96.0 % in one language and 17 % across two have a term of "
        "the query."
    )
