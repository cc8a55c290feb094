"""From options and experiment files to systems: what holds, what outranks it, what it is called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.cli import run_command
from bias_bench.config.experiment import (
    Experiment,
    experiment_yaml,
    make_experiment,
    parse_override,
)
from bias_bench.config.recipes import recipe_names
from bias_bench.config.setting_keys import setting_keys
from bias_bench.errors import UsageError
from bias_bench.runs.experiments import CUSTOM, STAGE_RECIPES, make_experiments
from bias_bench.runs.folder import run_name
from tests.support.fuzzing import fuzzed

TRAINING = {"steps": 2, "batch_size": 4, "mixture": {"mono": 1.0}, "sources": ["mini"]}
FILE = {"benchmark": "mini", "backbone": "scratch:tiny", "training": TRAINING}
RUN_RECIPES = [name for name in recipe_names() if name not in ("zero-shot", "bm25")]


def written(path: Path, content: Any) -> str:
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("until", [None, *STAGE_RECIPES, "encode", "search"])
def test_what_a_file_says_of_training_holds_in_every_command(
    tmp_path: Path, until: str | None
) -> None:
    (found,) = make_experiments(written(tmp_path / "short.yaml", FILE), None, until=until)
    assert found.training.model_dump(include=set(TRAINING)) == TRAINING
    assert found.training.negatives is None
    assert found.system.recipe == "short"
    assert run_name(found) == "mini-short-0"


@pytest.mark.parametrize(
    ("file", "recipe"),
    [("e", "e"), ("experiment", CUSTOM), ("hybrid", "custom-hybrid"), ("a b@c", "a-b-c"),
     ("数据", CUSTOM), ("-x", "x")],
)  # fmt: skip
def test_a_system_trained_without_a_recipe_is_called_after_its_file(
    tmp_path: Path, file: str, recipe: str
) -> None:
    (found,) = make_experiments(written(tmp_path / f"{file}.yaml", FILE), None)
    assert found.recipe == recipe
    again = tmp_path / "runs" / run_name(found) / "experiment.yaml"
    again.parent.mkdir(parents=True)
    again.write_text(experiment_yaml(found), "utf-8")
    assert make_experiments(str(again), None) == [found]


def test_what_is_trained_is_never_called_zero_shot(tmp_path: Path) -> None:
    steps = ["training.steps=2", "training.sources=[mini]"]
    (found,) = make_experiments("mini", ["zero-shot"], settings=steps)
    assert (found.recipe, found.training.steps) == (CUSTOM, 2)
    path = written(tmp_path / "odd.yaml", {**FILE, "recipe": "zero-shot"})
    assert [one.recipe for one in make_experiments(path, None)] == ["odd"]
    assert [one.recipe for one in make_experiments("mini", ["zero-shot"])] == ["zero-shot"]
    untrained = written(tmp_path / "plain.yaml", {"benchmark": "mini", "training": {"steps": 0}})
    assert [one.recipe for one in make_experiments(untrained, None)] == ["zero-shot"]


def test_a_file_that_trains_takes_the_sources_of_its_benchmark_where_it_names_none(
    tmp_path: Path,
) -> None:
    content = {"benchmark": "xquad-r", "training": {"steps": 5}}
    (found,) = make_experiments(written(tmp_path / "e.yaml", content), None)
    assert found.training.sources == ["mlqa-r", "ntrex-128"]


def test_a_files_training_outranks_its_own_recipe(tmp_path: Path) -> None:
    content = {**FILE, "recipe": "hybrid-hard", "training": {"steps": 7}}
    for until in (None, "mine", "train"):
        (found,) = make_experiments(written(tmp_path / "e.yaml", content), None, until=until)
        assert (found.recipe, found.training.steps) == ("hybrid-hard", 7)
        assert found.training.negatives is not None
        assert found.training.mixture == {"mono": 0.5, "cross": 0.5}


def test_recipes_named_beside_a_file_decide_what_they_are_and_the_rest_holds(
    tmp_path: Path,
) -> None:
    content = {
        **FILE,
        "seed": 3,
        "robustness": False,
        "training": {**TRAINING, "terms": {"distillation": {}}, "temperature": 0.1},
    }
    path = written(tmp_path / "e.yaml", content)
    found = make_experiments(path, ["cross", "hybrid-hard", "zero-shot"])
    assert [str(one.system) for one in found] == [
        "cross@scratch:tiny#3", "hybrid-hard@scratch:tiny#3", "zero-shot@scratch:tiny#3",
    ]  # fmt: skip
    cross, hard, zero = (one.training for one in found)
    assert (cross.steps, cross.batch_size, cross.temperature) == (2, 4, 0.1)
    assert (cross.mixture, cross.terms.distillation) == ({"cross": 1.0}, None)
    assert hard.negatives is not None
    assert zero == type(zero)()
    assert all(one.robustness is None for one in found)


@pytest.mark.parametrize("first", ["zero-shot", "hybrid-adversarial", "bm25"])
def test_a_recipe_beside_the_record_of_a_run_makes_what_it_makes_without_it(
    tmp_path: Path, first: str
) -> None:
    (record,) = make_experiments("mini", [first])
    path = tmp_path / "experiment.yaml"
    path.write_text(experiment_yaml(record), "utf-8")
    assert make_experiments(str(path), None) == [record]
    for name in ("hybrid", "zero-shot", "bm25"):
        assert make_experiments(str(path), [name]) == make_experiments("mini", [name])


def test_the_folder_and_its_record_are_named_after_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "short.yaml", FILE)
    out = ["--out", str(tmp_path / "runs"), "--reports", str(tmp_path / "reports")]
    assert run_command(["train", path, *out]) == 0
    folder = tmp_path / "runs" / "mini-short-0"
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["system"] == "short@scratch:tiny#0"
    assert len((folder / "train.jsonl").read_text("utf-8").splitlines()) == 2


WRONG = [3, 1.5, True, None, "", "x", [], ["mono"], {}, {"a": 1}, [[]], [None], {"kind": ["x"]}]
KEYS = [*setting_keys(Experiment), "retrieval", "training", "training.terms", "encoding", "fusion",
        "lexical", "robustness", "training.negatives", "training.terms.perturbation"]  # fmt: skip


def survives(path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run that works, or one line that says what is wrong."""
    out = ["--out", str(path / "runs"), "--reports", str(path / "reports"), "--dry-run"]
    code = run_command([*arguments, *out])
    err = capsys.readouterr().err
    assert code in (0, 1, 2, 3), err
    assert "unexpected" not in err, (arguments, err)
    assert code == 0 or err.rstrip().splitlines()[-1].startswith("biasbench: error: ")


@pytest.mark.parametrize("key", ["benchmark", "recipe", "backbone", "seed", "training", "data_dir"])
@pytest.mark.parametrize("value", WRONG, ids=str)
def test_a_value_of_the_wrong_type_in_a_file_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: Any
) -> None:
    path = written(tmp_path / "e.yaml", {"backbone": "scratch:tiny", key: value})
    for command in ("run", "train", "mine"):
        survives(tmp_path, [command, path], capsys)
    survives(tmp_path, ["run", path, "--recipe", "hybrid"], capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"recipe": ["mono"]}, "setting recipe = ['mono']: input should be a valid string"),
        ({"benchmark": 3}, "setting benchmark = 3: input should be a valid string"),
        ({"benchmark": None}, "setting benchmark = None: input should be a valid string"),
        ({"seed": "one"}, "setting seed = 'one': input should be a valid integer"),
        ({"training": 5}, "setting training = 5: expected a mapping"),
        ({"training": None}, "setting training = None: expected a mapping"),
        ({"backbone": None}, "setting backbone = None: input should be a valid string"),
        ({"seed": None}, "setting seed = None: input should be a valid integer"),
    ],
)
def test_wrong_types_in_a_file_are_usage_errors_that_name_the_key(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    path = written(tmp_path / "e.yaml", content)
    for recipe, outranking in ((None, None), (["hybrid"], None), (None, ["training.steps=2"])):
        with pytest.raises(UsageError) as error:
            make_experiments(path, recipe, settings=outranking, seed=[1])
        assert str(error.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("value", [3, "x", ["mono"], {"training": 5}, {"training": None}], ids=str)
def test_wrong_types_in_a_recipe_are_usage_errors(tmp_path: Path, value: Any) -> None:
    recipe = written(tmp_path / "own.yaml", {"settings": value})
    with pytest.raises(UsageError, match=r"^recipe .*own.*: expected a mapping"):
        make_experiments("mini", [recipe])


def problem(work: Callable[[], Any]) -> str:
    """What a usage error says in one line; nothing where there is none."""
    try:
        work()
    except UsageError as error:
        return str(error)
    return ""


def nested(key: str, value: Any) -> Any:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


@fuzzed
@given(key=st.sampled_from(KEYS), value=st.sampled_from(WRONG), where=st.integers(0, 2))
def test_any_value_for_any_key_of_a_file_a_recipe_or_set_is_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any, where: int
) -> None:
    folder, content = tmp_path_factory.mktemp("wrong"), nested(key, value)
    if where == 0:
        said = problem(lambda: make_experiments(written(folder / "e.yaml", content), None))
    elif where == 1:
        recipe = written(folder / "r.yaml", {"settings": content})
        said = problem(lambda: make_experiments("mini", [recipe]))
    else:
        text = f"{key}={json.dumps(value)}"
        said = problem(lambda: make_experiments("mini", ["hybrid"], settings=[text]))
    assert len(said.splitlines()) <= 1
    assert said == "" or key.split(".")[0] in said or "do not go together" in said


@pytest.mark.parametrize("key", KEYS)
def test_every_key_takes_or_refuses_every_wrong_type(key: str) -> None:
    said = [problem(lambda value=value: make_experiment(nested(key, value))) for value in WRONG]
    assert all(len(line.splitlines()) <= 1 for line in said)
    assert any(said), "not every value can be right"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("encoding.query_prefix=", ""),
        ("encoding.query_prefix=query: ", "query: "),
        ("encoding.query_prefix=no", "no"),
        ("encoding.query_prefix=[x", "[x"),
        ("encoding.query_prefix=null", None),
        ('encoding.query_prefix="query: "', "query: "),
        ("encoding.query_prefix='it''s '", "it's "),
        ('encoding.query_prefix="a" or "b"', '"a" or "b"'),
        ("split=off", "off"),
        ("debias=none", "none"),
        ("languages=[no, de]", ["no", "de"]),
        ("languages=null", None),
        ("retrieval.depth=7_0", 70),
        ("training.mixture.mono=0.5", 0.5),
        ("training.mixture={mono: 1}", {"mono": 1}),
        ("training.negatives=null", None),
        ("retrieval.index.code_bytes=48", 48),
    ],
)
def test_the_declared_type_decides_how_a_setting_is_read(text: str, value: Any) -> None:
    found: Any = parse_override(text)
    for part in text.partition("=")[0].split("."):
        found = found[part]
    assert found == value
    assert type(found) is type(value)
