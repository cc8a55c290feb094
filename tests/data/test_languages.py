"""A language code is read in every usual form, wherever something of the language is looked up."""

from __future__ import annotations

from pathlib import Path

import pytest

from bias_bench import Vectors, evaluate
from bias_bench.data.languages import (
    base_language,
    direction,
    doubts,
    html_language,
    language_code,
    language_name,
    matching_language,
    read_language,
)
from bias_bench.data.registry import languages_of, load_benchmark
from bias_bench.data.sources import load_sources
from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.settings import parse_setting
from bias_bench.robustness.perturbations import applicable
from bias_bench.robustness.spelling import case
from bias_bench.robustness.text import Question
from bias_bench.runs.debiasing import _draw
from bias_bench.runs.prepare import open_benchmark
from bias_bench.search.analysis import analyse, analysis_rule
from bias_bench.system.files import read_json
from tests.support.external_rankings import QRELS, RUN, Files
from tests.support.helpers import qrels_text, run_text
from tests.support.lareqa_files import document, good, paragraph, write

FORMS = {
    "th": ("th", "TH", "tha", "th_TH", "th-TH", "tha_Thai", "Thai", "thai"),
    "zh": (
        "zh",
        "zh-Hans",
        "zh_CN",
        "zho-Hans",
        "zho_Hans",
        "cmn",
        "chi",
        "Chinese",
        "zh-cmn-Hans",
    ),
    "ar": ("ar", "arb", "ara", "arb_Arab", "ar-EG", "Arabic"),
    "fa": ("fa", "pes", "fas", "prs", "per", "pes_Arab", "Persian"),
    "el": ("el", "ell", "gre", "el_GR", "ell_Grek", "Greek"),
    "tr": ("tr", "tur", "tr-TR", "tur_Latn", "Turkish"),
    "bn": ("bn", "ben", "ben_Beng", "Bengali", "Bangla"),
}
ALL_FORMS = [(code, form) for code, forms in FORMS.items() for form in forms]


@pytest.mark.parametrize(("code", "form"), ALL_FORMS)
def test_every_form_of_a_code_has_the_rules_of_its_language(code: str, form: str) -> None:
    assert base_language(form) == code
    assert analysis_rule(form) == analysis_rule(code) != analysis_rule("xx")
    assert direction(form) == direction(code)
    assert html_language(form).split("-")[0] == code
    for kind in ("diacritics", "case"):
        assert applicable(kind, form) == applicable(kind, code)


@pytest.mark.parametrize(
    ("code", "script"),
    [
        ("zh", "Hans"), ("zh_TW", "Hant"), ("zh-Hant", "Hant"), ("arb_Latn", "Latn"),
        ("kas_Deva", "Deva"), ("pa-Arab", "Arab"), ("sh", "Latn"), ("sr", "Cyrl"),
    ],
)  # fmt: skip
def test_the_script_is_that_of_the_code_else_the_usual_one(code: str, script: str) -> None:
    found = read_language(code)
    assert found is not None
    assert found.script == script


@pytest.mark.parametrize("code", ["xx", "", "all", "und", "mul", "train", "e1", "zh/CN", "x-y"])
def test_what_names_no_language_is_not_known(code: str) -> None:
    assert read_language(code) is None
    assert (base_language(code), language_name(code), direction(code)) == (code, code, "ltr")
    assert analysis_rule(code) == analysis_rule("xx")
    assert applicable("diacritics", code)
    assert applicable("case", code)


@pytest.mark.parametrize(
    "code", ["he", "iw", "ur_PK", "yi", "ckb", "ug", "dv", "pa-Arab", "ps", "sd"]
)
def test_direction_follows_the_script(code: str) -> None:
    assert direction(code) == "rtl"
    assert direction(f"{base_language(code)}_Latn") == "ltr"


@pytest.mark.parametrize(
    ("code", "script"), [("lo", "Lao"), ("khm_Khmr", "Khmer"), ("my", "Myanmar")]
)
def test_other_scripts_without_spaces_are_divided_as_thai_is(code: str, script: str) -> None:
    assert analysis_rule(code).bigrams == script


def test_scripts_decide_what_can_be_perturbed() -> None:
    assert [applicable("case", code) for code in ("ta", "arb_Latn", "ja", "hy")] == [0, 1, 0, 1]
    assert [applicable("diacritics", code) for code in ("km", "zh_Latn", "en_GB", "vi")] == [
        0,
        1,
        0,
        1,
    ]


@pytest.mark.parametrize("code", ["tur", "tr_TR", "Turkish", "aze"])
def test_turkish_letters_change_case_under_every_code(code: str) -> None:
    import numpy as np

    assert case(Question("ilk ısı", code), 1.0, np.random.default_rng(0)) == "İLK ISI"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("de", "German"), ("zh-Hans", "Simplified Chinese"), ("th_TH", "Thai (Thailand)"),
        ("pa_Arab", "Punjabi (Arabic)"), ("uk", "Ukrainian"), ("quy", "quy"),
    ],
)  # fmt: skip
def test_languages_have_english_names(code: str, name: str) -> None:
    assert language_name(code) == name


@pytest.mark.parametrize(
    ("wanted", "known", "meant"),
    [
        ("tha", ["en", "th"], "th"),
        ("zh-Hans", ["zh_Hans", "zh_Hant"], "zh_Hans"),
        ("zh", ["zh_Hans", "zh_Hant"], "zh_Hans"),
        ("zh_TW", ["zh"], None),
        ("zh_CN", ["zh"], "zh"),
        ("german", ["de", "en"], "de"),
        ("en", ["en_US", "en_GB"], None),
        ("xx", ["xx"], "xx"),
        ("xx", ["yy"], None),
    ],
)
def test_a_wanted_language_is_found_under_its_own_code(
    wanted: str, known: list[str], meant: str | None
) -> None:
    assert matching_language(wanted, known) == meant


def test_languages_of_a_benchmark_are_chosen_in_any_form() -> None:
    assert languages_of("mini", ["tha", "zh-Hans", "German", "th"]) == ["de", "th", "zh"]
    with pytest.raises(UsageError, match="mini: no language 'zh_TW'"):
        languages_of("mini", ["zh_TW"])
    mini = load_benchmark("mini", None, ["tha", "eng_Latn"]).collection
    assert mini.languages == ("en", "th")
    assert mini.keep(["Thai"]).languages == ("th",)


def test_files_of_bcp_47_make_a_benchmark_with_underscores(tmp_path: Path) -> None:
    for name in ("en", "zh-Hans", "pt-BR"):
        write(tmp_path / "own", name, good())
    own = load_benchmark(str(tmp_path / "own"), None)
    assert own.collection.languages == ("en", "pt_BR", "zh_Hans")
    assert own.collection.queries_in("zh_Hans")[0].id == "zh_Hans:q1"
    assert sorted(own.sha256) == ["en.json", "pt-BR.json", "zh-Hans.json"]
    assert parse_setting("en-zh_Hans").pool == language_code("zh-Hans")
    part = load_benchmark(str(tmp_path / "own"), None, ["zh-CN", "por"]).collection
    assert part.languages == ("pt_BR", "zh_Hans")


def test_two_files_of_one_code_are_refused(tmp_path: Path) -> None:
    for name in ("zh-Hans", "zh_Hans"):
        write(tmp_path / "own", name, good())
    with pytest.raises(DataError, match=r"zh_Hans.json: is language 'zh_Hans', as zh-Hans.json"):
        load_benchmark(str(tmp_path / "own"), None)


def test_a_code_that_cannot_stand_in_a_setting_is_refused_with_one_that_can() -> None:
    from dataclasses import replace

    mini = load_benchmark("mini", None, ["en"]).collection
    with pytest.raises(DataError, match=r"'zh-Hans' cannot be a language code .*; write zh_Hans"):
        replace(mini, languages=("zh-Hans",))


def test_clusters_are_those_of_english_under_any_code(tmp_path: Path) -> None:
    write(tmp_path / "own", "de", document([paragraph(["Leer."])], [paragraph(["Ja."], ("q1", 0))]))
    write(tmp_path / "own", "eng_Latn", good())
    assert load_benchmark(str(tmp_path / "own"), None).collection.topics[0].article == "eng_Latn:0"


def test_unknown_and_double_codes_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doubts(["en", "zh_Hans", "th"]) == []
    for name in ("en", "xx", "elvish", "tha", "th"):
        write(tmp_path / "own", name, good())
    open_benchmark(str(tmp_path / "own"), None)
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 2
    assert "own: unknown language elvish, xx: " in warnings[0]
    assert "own: th and tha are one language (th) under several codes" in warnings[1]


def test_rankings_of_other_tools_may_name_languages_in_any_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``fr`` of the worked example is called ``zh-Hans``, in ids or in a table."""
    files = Files(tmp_path)
    files.write_example(
        run_text(RUN).replace("fr:", "zh-Hans:"), qrels_text(QRELS).replace("fr:", "zh-Hans:")
    )
    assert files.score("--name", "ids") == 0
    labels = [f"fr:{name}\tzh-Hans" for name in ("1", "2", "9", "t1", "t2")]
    labels += [f"{code}:{name}\t{code}" for code in ("de", "en") for name in "129"]
    labels += [f"{code}:t{number}\t{code}" for code in ("de", "en") for number in (1, 2, 7)]
    files.write_example()
    table = files.write("languages.tsv", "\n".join(labels))
    assert files.score("--name", "table", "--languages", str(table)) == 0
    assert "unknown language" not in capsys.readouterr().err
    for name in ("ids", "table"):
        bias = read_json(files.out / name / "metrics.json")["bias"]
        assert sorted(bias["worst_rank"]["per_language"]) == ["de", "en", "zh_Hans"]
    queries = RankTable(files.out / "ids" / "ranks.parquet").of("zh_Hans-all").queries
    assert queries == ["zh_Hans:t1"]


def test_debiasing_finds_training_texts_of_the_language(tmp_path: Path) -> None:
    import numpy as np

    write(tmp_path, "zh", good())
    entry = {"form": "squad", "name": "x", "files": {"zho_Hant": "zh.json"}}
    pairs = load_sources([entry], tmp_path).pairs
    order = np.arange(len(pairs.topic_ids))
    drawn = {code: _draw(pairs, code, order) for code in ("zh", "zh_Hans", "cmn", "th")}
    assert [len(drawn[code]) for code in drawn] == [2, 2, 2, 0]
    assert drawn["zh_Hans"][0].texts == drawn["zh"][0].texts


@pytest.mark.parametrize("code", ["eng", "en_GB"])
def test_examples_show_the_english_question_under_any_code(tmp_path: Path, code: str) -> None:
    import numpy as np

    for language in (code, "de"):
        write(tmp_path / "own", language, good())
    own = load_benchmark(str(tmp_path / "own"), None).collection
    random = np.random.default_rng(0)
    vectors = Vectors(random.normal(size=(8, 4)), random.normal(size=(len(own.candidates), 4)))
    folder = evaluate(vectors, own, out=tmp_path, system="chance").folder
    found = read_json(folder / "examples.json")["examples"]
    assert found
    assert [one["english"] for one in found] == [f"{one['query'].split(':')[1]}?" for one in found]


TEXTS = {
    "lao": "ປະເທດລາວຢູ່ໃນອາຊີ",
    "khm_Khmr": "ភាសាខ្មែរសរសេរ",
    "my": "မြန်မာဘာသာစကား",
    "th_TH": "ภาษาไทยเขียนติด",
}


@pytest.mark.slow
@pytest.mark.parametrize("code", TEXTS)
def test_a_sentence_without_spaces_is_more_than_one_token(code: str) -> None:
    assert len(analyse([TEXTS[code]], "xx")[0]) == 1
    assert len(analyse([TEXTS[code]], code)[0]) > 4
