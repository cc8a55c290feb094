"""The head of a run's page tells who was not there what was run, and what to beware of."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bias_bench.config.experiment import experiment_yaml, load_recipe, make_experiment
from bias_bench.config.recipes import recipe_names
from bias_bench.evaluation.run_record import RunRecord
from bias_bench.report.run_page import benchmark_title, purpose, recipe_text
from tests.support.report_pages import content, page_of

LICENCE = "CC BY-SA 4.0"


def experiment(recipe: str, **settings: Any) -> dict[str, Any]:
    """As experiment.yaml has it."""
    layers = load_recipe(recipe).settings, {"recipe": recipe}, settings
    return yaml.safe_load(experiment_yaml(make_experiment(*layers)))


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_is_described_as_it_is_run(recipe: str) -> None:
    assert recipe_text(experiment(recipe))
    if recipe not in ("zero-shot", "bm25"):
        assert recipe_text(experiment(recipe, training={"batch_size": 8}))


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("hybrid", {"training": {"mixture": {"mono": 1.0}}}),
        ("hybrid-hard", {"training": {"negatives": {"per_query": 3}}}),
        ("hybrid", {"training": {"steps": 0}}),
        ("zero-shot", {"training": {"steps": 5}}),
    ],
)
def test_a_recipe_that_was_changed_is_not_described(recipe: str, settings: dict[str, Any]) -> None:
    assert recipe_text(experiment(recipe, **settings)) is None


def test_a_recipe_of_ones_own_is_not_described() -> None:
    assert recipe_text({**experiment("hybrid"), "recipe": "mine"}) is None


@pytest.mark.parametrize(
    ("manifest", "languages", "known"),
    [
        ({"benchmark": "xquad-r", "licence": LICENCE}, None, True),
        ({"benchmark": "xquad-r", "licence": LICENCE}, ["en", "de"], False),
        ({"benchmark": "xquad-r"}, None, False),
        ({"benchmark": "my-data"}, None, False),
    ],
)
def test_a_benchmark_is_titled_where_it_is_whole_and_known(
    manifest: dict[str, Any], languages: list[str] | None, known: bool
) -> None:
    record = RunRecord.model_validate({**content()[0], **manifest})
    title = benchmark_title(record, {"languages": languages})
    assert (title is not None) == known
    assert title is None or "1,190 questions in 11 languages" in title


def test_the_page_has_both_at_its_head() -> None:
    html = page_of(
        {"benchmark": "xquad-r", "licence": LICENCE},
        experiment=yaml.safe_dump(experiment("hybrid")),
    )
    head = html.partition("<nav")[0]
    assert "monolingual or cross-lingual with equal probability" in head
    assert "1,190 questions in 11 languages" in head


def test_a_lexical_run_warns_of_ranks_by_chance() -> None:
    found = {"en": 0.9, "th": 0.8, "en-th": 0.2, "en-all": 0.3}
    html = page_of(metrics={"found": found})
    note = html.partition('class="note">Of the relevant candidates')[2].partition("</p>")[0]
    assert "85 % in one language, 20 % across two and 30 % in the pool of all" in note.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert "Of the relevant candidates" not in page_of()


@pytest.mark.parametrize(
    ("kinds", "text"),
    [
        (["monolingual"], "a question in the question's language."),
        (
            ["monolingual", "multilingual"],
            (
                "a question in the question's language and in a pool of all languages, and how "
                "strongly it prefers a language."
            ),
        ),
    ],
)
def test_the_purpose_names_what_was_measured_alone(kinds: list[str], text: str) -> None:
    assert purpose(kinds) == f"How well a system finds what answers {text}"
