"""Input cannot run code, leave the folders it is given, or come over an open line."""

from __future__ import annotations

import ast
import io
import json
import pickle
import re
import tarfile
import zipfile
from importlib.resources import files as package_files
from pathlib import Path

import pytest
import yaml

from bias_bench.cli import run_command
from bias_bench.data.collection import Candidate, Collection, Query, Topic
from bias_bench.data.sources import load_sources
from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.encoders.save import save_encoder
from bias_bench.encoders.scratch import PROFILE, build
from bias_bench.errors import BiasBenchError, DataError
from tests.cli.test_cli_failures import assert_one_error
from tests.support.runs import run
from tests.test_architecture import FILES, PACKAGE

CALLS = {
    "eval", "exec", "__import__", "os.system", "os.popen", "torch.load", "yaml.load",
    "yaml.full_load", "yaml.unsafe_load", "yaml.load_all", "shutil.unpack_archive",
    "tarfile.open", "subprocess.getoutput", "pd.read_pickle", "ssl._create_unverified_context",
}  # fmt: skip
METHODS = {"extractall", "extract", "read_pickle", "to_pickle"}
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
FALSE_ALONE = {"trust_remote_code", "allow_pickle", "shell"}


def dangers(source: str) -> list[str]:
    """What in a file could run code from data, or leave a folder."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names.append(getattr(node, "module", None) or "")
            found += [name for name in names if name.split(".")[0] in MODULES]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in CALLS or called.rpartition(".")[2] in METHODS:
            found.append(called)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        found += [name for name in FALSE_ALONE & keywords.keys() if keywords[name] != "False"]
        if keywords.get("verify") == "False":
            found.append("verify")
        if called == "np.load" and "allow_pickle" not in keywords:
            found.append("np.load")
        if (
            called.endswith(".from_pretrained")
            and not {"trust_remote_code", None} & keywords.keys()
        ):
            found.append(called)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_runs_code_from_data(path: Path) -> None:
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "import joblib", "eval(text)", "torch.load(p)",
        "yaml.load(text, Loader)", "np.load(path)", "np.load(path, allow_pickle=True)",
        "subprocess.run(c, shell=True)", "archive.extractall(folder)",
        "requests.get(u, verify=False)",
        "AutoModel.from_pretrained(f, trust_remote_code=True)", "AutoModel.from_pretrained(f)",
        "AutoModel.from_pretrained(f, trust_remote_code=trusted)",
    ],
)  # fmt: skip
def test_the_look_for_dangers_finds_them(line: str) -> None:
    assert dangers(line)


def test_what_is_downloaded_comes_over_https_at_a_pinned_revision_or_with_a_checksum() -> None:
    folder = package_files("bias_bench.data")
    seen = 0
    for name in ("benchmarks.yaml", "miracl.yaml", "sources.yaml"):
        content = yaml.safe_load(folder.joinpath(name).read_text("utf-8"))
        for entry in nested(content):
            if url := entry.get("base_url"):
                assert url.startswith("https://")
                assert re.search(r"/[0-9a-f]{40}/", url)
                for file in entry["files"].values():
                    assert re.fullmatch("[0-9a-f]{64}", file["sha256"])
                seen += 1
            if "hub" in entry:
                assert re.fullmatch("[0-9a-f]{40}", entry["revision"])
                seen += 1
    assert seen >= 4
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.yaml")]:
        for url in re.findall(r"http://[^\s\"'`)]+", path.read_text("utf-8")):
            assert "w3.org" in url, f"{path.name}: {url}"  # names, which nobody fetches


def nested(value: object) -> list[dict]:
    """All mappings in a value."""
    if isinstance(value, dict):
        return [value, *(found for inner in value.values() for found in nested(inner))]
    return [found for inner in value for found in nested(inner)] if isinstance(value, list) else []


class Evil:
    """Unpickling it leaves a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.marker,))


def test_a_models_own_code_and_pickles_are_never_run(tmp_path: Path) -> None:
    folder, marker = tmp_path / "model", tmp_path / "ran"
    save_encoder(folder, *build("tiny", 0), PROFILE)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(marker)))
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n", "utf-8")
    assert resolve_backbone(str(folder)).load()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"},
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(BiasBenchError):
        resolve_backbone(str(folder)).load()
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"holds no model\.safetensors"):
        resolve_backbone(str(folder)).load()
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    ["/etc/evil", "%2f", "..%2fevil", "a\x00b", "x" * 300, "..", "~root", "a\nb", "-x", "a\\b"],
)
def test_no_name_of_a_run_leads_outside(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, f"--name={name}") in (1, 2)
    assert_one_error(capsys.readouterr().err)
    assert not list(tmp_path.rglob("manifest.json"))


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a/../../b", "x" * 300, "e\x00"])
def test_no_experiment_file_leads_outside(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "experiment.yaml"
    content = {"benchmark": "mini", "recipe": name, "training": {"steps": 0}}
    path.write_text(yaml.safe_dump(content), "utf-8")
    before = sorted(tmp_path.parent.iterdir())
    assert run(tmp_path / "out", str(path)) in (1, 2)
    assert_one_error(capsys.readouterr().err)
    assert sorted(tmp_path.parent.iterdir()) == before
    assert not list(tmp_path.rglob("manifest.json"))


@pytest.mark.parametrize(
    "language", ["../../evil", "/evil", "a/b", "..", "a\x00", "%2f", "", "a b", ".a", "x" * 300]
)
def test_no_language_of_a_benchmark_leads_outside(language: str) -> None:
    with pytest.raises(DataError, match="cannot be a language code"):
        Collection(
            name="hostile",
            languages=(language,),
            topics=(Topic("t", "p", "a"),),
            queries=(Query(f"{language}:t", "text"),),
            candidates=(Candidate(f"{language}:c", "text", ""),),
            relevance=(("t", f"{language}:c"),),
        )


HOSTILE_IDS = [
    "../../evil",
    "/etc/evil",
    "%2f..%2fevil",
    "x" * 5000,
    "<script>",
    "\x1b[2J",
    "\u202e",
]


def test_hostile_ids_stay_in_the_files_of_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        f"{language}:{name} Q0 {other}:{name} 1 {2 - place} tag\n"
        for name in HOSTILE_IDS
        for language in ("en", "de")
        for place, other in enumerate(("en", "de"))
    ]
    judged = [" ".join([*line.split(" ")[:3], "1"]) + "\n" for line in lines]
    given = tmp_path / "given"
    given.mkdir()
    (given / "a.run").write_text("".join(lines), "utf-8")
    (given / "a.qrels").write_text("".join(judged).replace(" Q0 ", " 0 "), "utf-8")
    files = ["--run", str(given / "a.run"), "--qrels", str(given / "a.qrels")]
    out = tmp_path / "runs"
    assert run_command(["score", *files, "--out", str(out), "--name", "hostile"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"given", "runs"}
    names = {path.name for path in (out / "hostile").rglob("*") if path.is_file()}
    assert names <= {
        ".lock", "manifest.json", "experiment.yaml", "ranks.parquet", "scores.parquet",
        "metrics.json", "en-all.run.gz", "de-all.run.gz", "en-all.qrels.gz", "de-all.qrels.gz",
    }  # fmt: skip
    capsys.readouterr()


@pytest.mark.parametrize("setting", ["../../evil", "en-../../evil", "..", "/en", "en-%2f"])
def test_no_setting_of_a_given_run_leads_outside(
    tmp_path: Path, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.run").write_text("en:1 Q0 en:2 1 1.0 tag\n", "utf-8")
    (tmp_path / "a.qrels").write_text("en:1 0 en:2 1\n", "utf-8")
    command = ["score", "--run", f"{setting}={tmp_path / 'a.run'}"]
    command += ["--qrels", str(tmp_path / "a.qrels"), "--out", str(tmp_path / "runs")]
    assert run_command(command) in (2, 3)
    assert_one_error(capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


def test_control_characters_of_a_file_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.run"
    path.write_text("q Q0 \x1b]0;evil\x07\x1b[2J 1 1.0 t\n" * 2, "utf-8")
    (tmp_path / "a.qrels").write_text("q 0 d 1\n", "utf-8")
    assert run_command(["score", "--run", str(path), "--qrels", str(tmp_path / "a.qrels")]) == 3
    err = capsys.readouterr().err
    assert "occurs twice" in err
    assert "\x1b" not in err
    assert "\x07" not in err


def test_a_message_is_never_longer_than_a_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--set", f"{'x' * 100_000}=1") == 2
    assert len(capsys.readouterr().err) < 2_200


def test_members_of_an_archive_are_read_and_never_written(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    row = {"query": "q", "positive": "p", "language": "en"}
    with zipfile.ZipFile(inside / "p.zip", "w") as archive:
        archive.writestr("../../evil.jsonl", json.dumps(row))
    entry = {"name": "p", "form": "pairs", "path": str(inside / "p.zip")}
    assert len(load_sources([entry], None).pairs.query) == 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["p.zip"]


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil"])  # noqa: S108
def test_the_browser_for_tests_unpacks_into_its_folder_alone(tmp_path: Path, name: str) -> None:
    brotli = pytest.importorskip("brotli")
    from tests.support.browser import _unpack

    def tar(files: dict[str, bytes]) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path, data in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return stream.getvalue()

    libraries = brotli.compress(tar({name: b"evil"}))
    outer = {
        "package/bin/chromium.br": brotli.compress(b"#!"),
        "package/bin/al2023.tar.br": libraries,
    }
    archive = tmp_path / "x" / "browser.tgz"
    archive.parent.mkdir()
    archive.write_bytes(tar(outer))
    target = tmp_path / "x" / "y" / "ready"
    target.parent.mkdir()
    if name.startswith("/"):  # the filter makes it relative
        _unpack(archive, target)
        assert not Path(name).exists()
    else:
        with pytest.raises(tarfile.OutsideDestinationError):
            _unpack(archive, target)
    assert not (tmp_path / "x" / "evil").exists()
    assert not (tmp_path / "evil").exists()
