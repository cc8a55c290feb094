"""`bias_bench.evaluate`: every kind of model goes through the pipeline of `biasbench run`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.sparse import csr_array

import bias_bench
from bias_bench import Run, Vectors, evaluate, load_collection, load_run, rank_distance
from bias_bench.cli import run_command
from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.encoders.save import save_encoder
from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.runs.external import ScoreOptions, score_external
from tests.support.runs import manifest, results, trec_files
from tests.support.toy_encoders import WIDTH, TwoMethods, prefixed, trigrams

LANGUAGES = ("de", "en", "zh")
PLAIN = {"robustness": False}
OVER_LANGUAGES = ("--set", "languages=[de, en, zh]", "--set", "robustness=false")


@pytest.fixture(scope="module")
def by_function(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of a function on three languages of mini."""
    return toy(prefixed, tmp_path_factory.mktemp("function"))


def toy(model: Any, out: Path, **arguments: Any) -> Run:
    given = {"system": "toy", "settings": PLAIN, **arguments}
    return evaluate(model, "mini", out=out, languages=LANGUAGES, **given)


def ready(scale: float = 1.0) -> Vectors:
    """The vectors of `prefixed`, in the collection's order."""
    mini = load_collection("mini", languages=LANGUAGES)
    return Vectors(
        prefixed([query.text for query in mini.queries], side="query") * scale,
        prefixed([candidate.text for candidate in mini.candidates], side="candidate"),
    )


def shown(error: pytest.ExceptionInfo[BiasBenchError]) -> str:
    """The error's message, which must be one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


def test_importing_the_package_loads_nothing_and_shows_its_names() -> None:
    heavy = ("numpy", "pandas", "pyarrow", "pydantic", "torch")
    script = (
        "import sys, bias_bench\nassert set(bias_bench.__all__) <= set(dir(bias_bench))\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    for name in bias_bench.__all__:
        assert getattr(bias_bench, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        _ = bias_bench.evalute  # type: ignore[attr-defined]
    assert (Path(bias_bench.__file__).parent / "py.typed").is_file()


def test_a_backbone_gives_the_folder_of_the_command(tmp_path: Path, capsys: Any) -> None:
    api = tmp_path / "api"
    run = evaluate("scratch:tiny", "mini", out=api, languages=LANGUAGES, settings=PLAIN)
    command = ["run", "mini", "--recipe", "zero-shot", "--backbone", "scratch:tiny"]
    places = ["--out", str(tmp_path / "cli"), "--reports", str(tmp_path)]
    assert run_command([*command, *places, *OVER_LANGUAGES]) == 0
    assert run.name == "mini-zero-shot-0"
    assert results(run.folder) == results(tmp_path / "cli" / run.name)
    assert run.manifest.interface is None
    capsys.readouterr()
    repeat = ["run", str(run.folder / "experiment.yaml"), "--policy", "only-cache"]
    places = ["--out", str(api), "--reports", str(tmp_path)]
    assert run_command([*repeat, *places]) == 0


def test_a_sentence_transformer_gives_the_scores_of_its_folder(tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    backbone = resolve_backbone("scratch:tiny")
    loaded = backbone.load()
    # prefixes and different sides, so that mixing them up would show
    profile = backbone.profile.model_copy(
        update={"query_prefix": "ask: ", "candidate_prefix": "text: "}
    )
    folder = tmp_path / "encoder"
    save_encoder(folder, loaded.model, loaded.tokenizer, profile)
    command = ["run", "mini", "--recipe", "zero-shot", "--backbone", str(folder)]
    places = ["--out", str(tmp_path / "cli"), "--reports", str(tmp_path)]
    exact = ["--set", "encoding.precision=float32"]
    assert run_command([*command, *places, *OVER_LANGUAGES, *exact]) == 0
    by_command = load_run(tmp_path / "cli" / "mini-zero-shot-0")
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    run = toy(model, tmp_path / "api", system=None)
    assert run.name == "mini-SentenceTransformer-0"
    assert run.manifest.encoding.dump() == {"precision": "float32"}
    keys = ["setting", "query", "metric"]
    both = run.scores.merge(by_command.scores, on=keys, suffixes=("", "_command"))
    assert len(both) == len(run.scores) == len(by_command.scores)
    # equal but where two candidates are as near as the last bits of float32
    assert (abs(both["value"] - both["value_command"]) < 1e-6).mean() > 0.99
    assert np.allclose(run.summary, by_command.summary, atol=1e-3)


class QueriesAndCorpus:
    """`prefixed` in the form of models for BEIR, with passages as texts or as dictionaries."""

    def __init__(self, dictionaries: bool) -> None:
        self.dictionaries = dictionaries

    def encode_queries(self, queries: list[str]) -> np.ndarray:
        return prefixed(queries, side="query")

    def encode_corpus(self, corpus: list[Any]) -> np.ndarray:
        texts = [doc["text"] for doc in corpus] if self.dictionaries else corpus
        return prefixed(texts, side="candidate")


def as_learned_tensors(part: np.ndarray) -> list[Any]:
    import torch

    return [torch.tensor(vector, requires_grad=True) for vector in part]


@pytest.mark.parametrize(
    "form",
    ["vectors", "mapping", "lists", "methods", "tensors", "learned", "corpus", "BEIR", "whole"],
)
def test_every_form_of_a_model_ranks_alike(by_function: Run, tmp_path: Path, form: str) -> None:
    import torch

    vectors = ready()
    model: Any = {
        "vectors": vectors,
        "mapping": vectors._asdict(),
        "lists": {name: np.asarray(part).tolist() for name, part in vectors._asdict().items()},
        "methods": TwoMethods(),
        "tensors": TwoMethods(lambda part: torch.from_numpy(part).to(torch.bfloat16)),
        "learned": TwoMethods(as_learned_tensors),
        "corpus": QueriesAndCorpus(dictionaries=False),
        "BEIR": QueriesAndCorpus(dictionaries=True),
        "whole": TwoMethods(lambda part: part.astype(np.int64)),
    }[form]
    run = toy(model, tmp_path)
    assert trec_files(run.folder) == trec_files(by_function.folder)
    assert run.manifest.weights == by_function.manifest.weights


def test_a_model_without_sides_gets_queries_and_candidates_alike(tmp_path: Path) -> None:
    asked: list[str] = []

    def plain(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        found = trigrams(texts)
        texts.clear()  # a model may do with its list what it likes
        return found

    run = toy(plain, tmp_path)
    mini = load_collection("mini", languages=LANGUAGES)
    texts = [item.text for item in (*mini.candidates, *mini.queries)]
    assert sorted(asked) == sorted(texts)
    assert run.system == "zero-shot@python:toy#0"


class EncodeAlone:
    def encode(self, sentences: list[str]) -> np.ndarray:
        return trigrams(sentences)


def test_a_model_with_encode_alone_is_asked_by_it(tmp_path: Path) -> None:
    run = toy(EncodeAlone(), tmp_path, name="method")
    assert trec_files(run.folder) == trec_files(toy(trigrams, tmp_path, name="function").folder)
    assert run.manifest.dump()["model"]["asked"] == "encode"


def test_a_sentence_transformer_gets_its_makers_prompt_for_passages(tmp_path: Path) -> None:
    class Prompted(TwoMethods):
        prompts: ClassVar = {"query": "ask: ", "document": "", "passage": "text: "}
        asked: ClassVar[list[str | None]] = []

        def encode_document(self, inputs: list[str], prompt_name: str | None = None) -> object:
            self.asked.append(prompt_name)
            return super().encode_document(inputs)

    run = toy(Prompted(), tmp_path)
    assert set(Prompted.asked) == {"passage"}
    asked = run.manifest.dump()["model"]["asked"]
    assert asked == "queries with its prompt 'ask: '; candidates with its prompt 'text: '"


def test_debiasing_would_undo_inner_products(tmp_path: Path) -> None:
    settings = {"debias": "centre", "robustness": False}
    with pytest.raises(UsageError, match="debias=centre scales vectors to length 1"):
        toy(prefixed, tmp_path, similarity="dot", settings=settings)


def test_robustness_and_debiasing_ask_the_model_for_further_texts(tmp_path: Path) -> None:
    settings = {"debias": "centre", "robustness.topics": 2, "robustness": {"strengths": ["light"]}}
    run = toy(prefixed, tmp_path, settings=settings)
    assert run.name == "mini-toy-centre-0"
    assert run.metrics.dump()["robustness"]["topics"] == 2
    assert run.manifest.dump()["debias"]["method"] == "centre"


def test_cosine_is_blind_to_length_and_dot_is_not(tmp_path: Path) -> None:
    def stretched(texts: list[str], *, side: str, doublings: int) -> np.ndarray:
        found = prefixed(texts, side=side)
        return found * 2.0 ** (doublings * (np.arange(len(found)) % 4))[:, None]  # exact in floats

    # squares of the longest are beyond float32
    cosine = toy(partial(stretched, doublings=30), tmp_path, name="cosine")
    dot = toy(partial(stretched, doublings=1), tmp_path, name="dot", similarity="dot")
    same = toy(prefixed, tmp_path, name="same")
    assert trec_files(cosine.folder) == trec_files(same.folder)
    assert not np.allclose(dot.summary, same.summary, atol=1e-2)
    assert dot.manifest.dump()["model"]["similarity"] == "dot"


def test_a_model_that_names_its_similarity_is_taken_at_its_word(tmp_path: Path) -> None:
    model = TwoMethods()
    model.similarity_fn_name = "dot"  # type: ignore[attr-defined]
    assert toy(model, tmp_path).manifest.dump()["model"]["similarity"] == "dot"
    model.similarity_fn_name = "manhattan"  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="similarity 'manhattan': choose 'cosine' or 'dot'"):
        toy(model, tmp_path, name="other")


def test_vectors_of_zeros_are_searched(tmp_path: Path) -> None:
    run = toy(lambda texts: np.zeros((len(texts), 4)), tmp_path)
    assert 0 < run.summary.loc["monolingual", "AP"] < 0.2


def test_texts_that_two_languages_share_keep_their_own_vectors(tmp_path: Path) -> None:
    mini = load_collection("mini", languages=["de", "en"])
    twice = {query.id: query.text for query in mini.queries[: len(mini.queries) // 2]}
    texts = list(twice.values()) * 2
    shared = replace(
        mini,
        name="shared",
        queries=tuple(
            query._replace(text=text) for query, text in zip(mini.queries, texts, strict=True)
        ),
    )
    answers = prefixed([candidate.text for candidate in mini.candidates], side="candidate")
    row_of = {candidate.id: row for row, candidate in enumerate(mini.candidates)}
    own = dict(mini.relevance)  # the last answer of each topic: the English one
    english = np.stack([answers[row_of[own[query.id.split(":")[1]]]] for query in mini.queries])
    queries = np.where([[query.id.startswith("en")] for query in mini.queries], english, 0)
    run = evaluate(Vectors(queries, answers), shared, out=tmp_path)
    means = run.retrieval.query("metric == 'R@1'").set_index("setting")["value"]
    assert means["en"] > 0.9 > means["de"]


def test_a_second_call_finds_the_work_done(by_function: Run, capsys: Any) -> None:
    capsys.readouterr()
    again = toy(prefixed, by_function.folder.parent)
    assert again == by_function
    assert capsys.readouterr().err.count("unchanged, kept") == 5


def test_other_vectors_do_not_replace_results_unasked(tmp_path: Path) -> None:
    before = results(toy(prefixed, tmp_path).folder)
    with pytest.raises(UsageError) as error:
        toy(trigrams, tmp_path)
    assert "holds results of other vectors; give another name or system, or" in shown(error)
    assert results(tmp_path / "mini-toy-0") == before
    assert results(toy(trigrams, tmp_path, policy="always").folder) != before


def test_a_collection_of_ones_own_is_a_benchmark(tmp_path: Path) -> None:
    mini = load_collection("mini", languages=["de", "en"])
    half = {topic.id for topic in mini.topics[:30]}
    own = replace(
        mini,
        name="half",
        topics=mini.topics[:30],
        queries=tuple(query for query in mini.queries if query.id.split(":")[1] in half),
        relevance=tuple(pair for pair in mini.relevance if pair[0] in half),
    )
    run = evaluate(trigrams, own, out=tmp_path)
    assert (run.name, run.benchmark) == ("half-trigrams-0", "half")
    assert run.settings == ["de", "en", "de-en", "en-de", "de-all", "en-all"]
    assert set(run.scores["topic"]) == half
    changed = replace(own, candidates=tuple(c._replace(text=c.text + "!") for c in own.candidates))
    with pytest.raises(UsageError, match="holds results of another collection"):
        evaluate(trigrams, changed, out=tmp_path)
    with pytest.raises(UsageError, match="called mini, as a known benchmark"):
        evaluate(trigrams, mini, out=tmp_path)


def test_the_folder_says_honestly_what_the_model_was(
    by_function: Run, tmp_path: Path, capsys: Any
) -> None:
    found = manifest(by_function.folder)
    model = found["model"]
    assert found["interface"] == "bias_bench.evaluate"
    assert model["class"] == "tests.support.toy_encoders.prefixed"
    assert (model["name"], model["dimensions"]) == ("toy", WIDTH)
    assert (model["similarity"], found["encoding"]) == ("cosine", {"precision": "unknown"})
    page = by_function.report(tmp_path).read_text(encoding="utf-8")
    assert "tests.support.toy_encoders.prefixed" in page
    assert "no command repeats it" in page
    assert "biasbench run runs/" not in page
    again = ["run", str(by_function.folder / "experiment.yaml"), "--name", "again"]
    assert run_command([*again, "--out", str(tmp_path), "--reports", str(tmp_path)]) == 2
    assert "given to bias_bench.evaluate as a Python object" in capsys.readouterr().err


def test_scored_rankings_load_as_a_run_with_their_cutoff(by_function: Run, tmp_path: Path) -> None:
    source = by_function.folder
    options = ScoreOptions(
        runs=[str(source / "trec")], qrels=[str(source)], depth=20, system="toy", out=tmp_path
    )
    run = load_run(score_external(options))
    cutoff = run.metrics.cutoff
    found, expected = rank_distance(run.ranks, cutoff), run.metrics.bias.rank_distance
    assert expected is not None
    assert found.macro == pytest.approx(expected.macro)
    assert found.left_out == expected.left_out + expected.not_retrieved > 0
    assert rank_distance(by_function.ranks, cutoff).macro == pytest.approx(found.macro)
    assert rank_distance(by_function.ranks).macro > found.macro
    assert run.trec("de-zh").is_file()


def wide(texts: list[str], *, side: str) -> np.ndarray:
    return np.ones((len(texts), 3 if side == "query" else 4))


class NeedsMore:
    def encode(self, texts: list[str], *, task: str) -> np.ndarray:
        return trigrams([task + text for text in texts])


def with_nan(texts: list[str]) -> np.ndarray:
    found = np.ones((len(texts), 4))
    found[7, 2] = np.nan
    return found


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        (with_nan, DataError, "de candidates: row 7 holds NaN or infinity (1 such rows)"),
        (lambda texts: np.full((len(texts), 2), 1e300), DataError, "row 0 holds NaN or infinity"),
        (lambda texts: np.ones((len(texts) - 1, 4)), DataError, "for 84 texts; expected (84, dim"),
        (lambda texts: np.ones(len(texts)), DataError, "vectors of shape (84,)"),
        (lambda texts: [[1.0] * (1 + row % 2) for row in range(len(texts))], DataError, "not an"),
        (lambda texts: texts, DataError, "de candidates: not an array of numbers"),
        (lambda texts: np.ones((len(texts), 4), np.uint8), DataError, "vectors of uint8, packed"),
        (lambda texts: np.ones((len(texts), 4), np.int8), DataError, "vectors of int8, packed"),
        (lambda texts: csr_array(np.ones((len(texts), 4))), DataError, "sparse vectors cannot"),
        (NeedsMore(), UsageError, "NeedsMore.encode: it needs more than texts (missing a required"),
        (wide, DataError, "de queries: 3 dimensions, but de candidates have 4"),
        ({"queries": np.ones((180, 4))}, UsageError, "give 'queries' and 'candidates', not quer"),
        (Vectors(np.ones((180, 4)), np.ones((9, 4))), DataError, "candidates: vectors of shape (9"),
        (Vectors(np.ones((180, 3)), np.ones((252, 4))), DataError, "3 dimensions, but"),
        (42, UsageError, "builtins.int: neither a backbone's name or folder nor a model"),
        ("no-such-model", UsageError, "unknown backbone 'no-such-model'"),
    ],
)
def test_vectors_that_cannot_be_compared_are_one_line_and_leave_nothing(
    tmp_path: Path, model: Any, kind: type[BiasBenchError], message: str
) -> None:
    with pytest.raises(kind) as error:
        toy(model, tmp_path, system=None)
    assert message in shown(error)
    assert list(tmp_path.iterdir()) == []


def test_a_bare_torch_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a torch module takes tokens, not texts"):
        toy(resolve_backbone("scratch:tiny").load().model, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settings": {"retrieval.dept": 5}}, "did you mean 'retrieval.depth'?"),
        ({"settings": {"seed": 1}}, "setting seed: give it as an argument"),
        ({"settings": {"training.steps": 5}}, "evaluate does not train"),
        ({"settings": {"encoding.pooling": "cls"}}, "encodes in its own way"),
        ({"settings": {"lexical": {}}}, "setting lexical: nothing would be encoded"),
        ({"settings": {"fusion.runs": []}}, "setting fusion: nothing would be encoded"),
        ({"languages": []}, "setting languages = []"),
        ({"device": "cuda"}, "device 'cuda': a model given as an object computes where it lies"),
        ({"similarity": "euclidean"}, "similarity 'euclidean': choose 'cosine' or 'dot'"),
        ({"system": "two words"}, "it is empty or has spaces"),
        ({"name": "../outside"}, "cannot name a run"),
        ({"languages": ["de", "dee"]}, "no language 'dee': did you mean 'de'?"),
    ],
)
def test_arguments_that_cannot_be_followed_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(BiasBenchError) as error:
        evaluate(prefixed, "mini", out=out, **arguments)
    assert message in shown(error)
    assert not out.exists()


def test_arguments_of_objects_are_refused_for_a_backbone(tmp_path: Path) -> None:
    for argument in ({"system": "mine"}, {"similarity": "dot"}):
        with pytest.raises(UsageError, match="leave it out for a backbone"):
            evaluate("scratch:tiny", "mini", out=tmp_path, **argument)  # type: ignore[arg-type]


def test_ready_vectors_cannot_stand_in_for_further_texts(tmp_path: Path) -> None:
    for settings, word in (({"robustness": True}, "robustness"), ({"debias": "lir"}, "debias")):
        with pytest.raises(UsageError, match=f"setting {word}: it encodes further texts"):
            toy(ready(), tmp_path, settings=settings)
