"""Experiments: settings, overrides, recipes, names that round-trip."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from bias_bench.config.experiment import (
    Experiment,
    experiment_yaml,
    load_recipe,
    make_experiment,
    parse_override,
    recipe_names,
)
from bias_bench.config.index import ExactIndex, HnswIndex, IvfPqIndex
from bias_bench.config.setting_keys import setting_keys
from bias_bench.errors import UsageError


def test_saved_experiment_reads_back_equal() -> None:
    experiment = make_experiment(
        {"benchmark": "xquad-r", "seed": 3}, parse_override("retrieval.depth=7_0")
    )
    assert make_experiment(yaml.safe_load(experiment_yaml(experiment))) == experiment


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("retrieval.dept=5", "unknown setting 'retrieval.dept': did you mean 'retrieval.depth'?"),
        ("benchmrk=x", "unknown setting 'benchmrk': did you mean 'benchmark'?"),
        (
            "retrieval.depth=3",
            "setting retrieval.depth = 3: input should be greater than or equal to 10",
        ),
        ("training.mixture={crss: 1}", "unknown kind of batch 'crss': did you mean 'cross'?"),
        ("training.mixture={mono: -1}", "mono has the weight -1.0: write a number from 0"),
        ("training.mixture={mono: .inf}", "mono has the weight inf: write a number from 0"),
        ("training.mixture={mono: 0}", "at least one kind needs a weight above 0"),
        ("training.temperature=0", "setting training.temperature = 0: input should be greater"),
        ("encoding.precision=fp8", "setting encoding.precision = 'fp8'"),
        ("retrieval=5", "setting retrieval = 5"),
        (
            "retrieval.index={kind: hnsw, linkz: 3}",
            "unknown setting 'retrieval.index.linkz': did you mean 'retrieval.index.links'?",
        ),
        (
            "retrieval.index={kind: hnsw, probes: 3}",
            "unknown setting 'retrieval.index.probes': did you mean 'retrieval.index.links'?",
        ),
        (
            "retrieval.index=ivfpq",
            "setting retrieval.index: unknown kind 'ivfpq': did you mean 'ivf-pq'?",
        ),
        (
            "retrieval.index.search=64",
            "setting retrieval.index: say which kind it is, one of exact, hnsw, ivf-pq",
        ),
        (
            "retrieval.index={kind: ivf-pq, lists: 0}",
            "setting retrieval.index.lists = 0: lists is auto or a whole number",
        ),
        (
            "retrieval.index={kind: ivf-pq, code_bits: 5}",
            "setting retrieval.index.code_bits = 5: input should be 4 or 8",
        ),
        ("retrieval.index=7", "setting retrieval.index = 7"),
    ],
)
def test_wrong_setting_names_the_key_and_what_to_do(override: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        make_experiment(parse_override(override))
    assert message in str(error.value)


def test_all_wrong_settings_are_reported_at_once() -> None:
    with pytest.raises(UsageError, match=r"'sed'.*; .*'recip'"):
        make_experiment({"sed": 1, "recip": "x"})


@pytest.mark.parametrize("text", ["no-equals-sign", "=5", "retrieval.depth=[1"])
def test_malformed_override_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        parse_override(text)


def test_later_layers_win_and_leave_siblings() -> None:
    experiment = make_experiment(
        {"encoding": {"precision": "bf16", "batch_tokens": 512}},
        {"encoding": {"precision": "float32"}},
    )
    assert (experiment.encoding.precision, experiment.encoding.batch_tokens) == ("float32", 512)


@pytest.mark.parametrize(
    "overrides",
    [
        ("encoding.precision=bf16", "encoding.precision=float32"),
        ("retrieval.index={kind: hnsw, links: 5}", "retrieval.index.links=9"),
    ],
)
def test_layers_are_not_changed_by_merging(overrides: tuple[str, str]) -> None:
    layers = [parse_override(text) for text in overrides]
    before = deepcopy(layers)
    make_experiment(*layers)
    assert layers == before


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], ExactIndex()),
        (["hnsw"], HnswIndex()),
        (["ivf-pq", "exact"], ExactIndex()),
        (["{kind: hnsw, links: 9}", "ivf-pq"], IvfPqIndex()),
        (["{kind: hnsw, links: 9}", "{kind: ivf-pq, probes: 2}"], IvfPqIndex(probes=2)),
        (["{kind: hnsw, links: 9}", "{search: 5}"], HnswIndex(links=9, search=5)),
        (["hnsw", "{search: 5}"], HnswIndex(search=5)),
    ],
)
def test_an_index_that_names_its_kind_takes_the_place_of_another(
    overrides: list[str], expected: Any
) -> None:
    layers = [parse_override(f"retrieval.index={value}") for value in overrides]
    experiment = make_experiment(*layers)
    assert experiment.retrieval.index == expected
    assert make_experiment(yaml.safe_load(experiment_yaml(experiment))) == experiment


def test_keys_of_every_kind_can_be_completed() -> None:
    keys = list(setting_keys(Experiment))
    assert len(keys) == len(set(keys))
    assert {"seed", "retrieval.depth", "retrieval.index", "retrieval.index.links",
            "retrieval.index.probes", "training.negatives.source"} <= set(keys)  # fmt: skip


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_makes_an_experiment(name: str) -> None:
    assert isinstance(make_experiment(load_recipe(name).settings), Experiment)


def test_recipe_file_is_named_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("description: d\nsettings: {retrieval: {depth: 200}}\n", encoding="utf-8")
    recipe = load_recipe(str(path))
    assert (recipe.name, make_experiment(recipe.settings).retrieval.depth) == ("deep", 200)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("setings: {}", "did you mean 'settings'"),
        ("- a", "expected a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_broken_recipe_file_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        load_recipe(str(path))


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'zero-shot'"):
        load_recipe("zeroshot")


def test_a_mixture_replaces_another_and_is_not_mixed_with_it() -> None:
    hybrid = load_recipe("hybrid").settings
    changed = make_experiment(hybrid, parse_override("training.mixture={mono: 1}"))
    assert changed.training.mixture == {"mono": 1.0}
    assert changed.training.steps == 300
