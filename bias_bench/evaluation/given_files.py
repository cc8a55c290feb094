"""Run and qrels files as a user names them: a file, a file for one setting, or a folder of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.settings import Setting, parse_setting
from bias_bench.system.files import is_hidden

Role = Literal["run", "qrels"]
_FOLDERS: dict[Role, str] = {"run": "trec", "qrels": "qrels"}


class GivenFile(NamedTuple):
    """A file and its setting; None: queries of any languages, in the pool of all languages.

    `name` tells it from other files, without the folder that the user keeps them in.
    """

    path: Path
    setting: Setting | None
    name: str


def given_files(texts: Sequence[str], role: Role) -> list[GivenFile]:
    """The files behind the values of --run or --qrels, settings by name.

    A value is FILE, SETTING=FILE, or a folder with a file <setting>.run or .run.gz (.qrels or
    .qrels.gz) for each setting, like trec/ (qrels/) of a run folder, or the run folder itself.
    """
    files: list[GivenFile] = []
    for text in texts:
        path = Path(text)
        setting, given, file = text.partition("=")
        if path.is_dir():
            files.extend(_in_folder(path, role))
        elif given and "/" not in setting and not path.exists():
            files.append(GivenFile(Path(file), parse_setting(setting), Path(file).name))
        else:
            files.append(GivenFile(path, None, path.name))
    seen: dict[Setting, Path] = {}
    for given_file in files:
        name = given_file.setting
        if name in seen:
            raise UsageError(
                f"setting {name} is given twice, by {seen[name]} and {given_file.path}; give one"
            )
        if name:
            seen[name] = given_file.path
    paths = [given_file.path.resolve() for given_file in files if given_file.setting is None]
    for path in paths:
        if paths.count(path) > 1:
            raise UsageError(f"{path}: given twice with --{role}; give it once")
    return sorted(files, key=lambda given_file: (str(given_file.setting or ""), given_file.name))


def _in_folder(folder: Path, role: Role) -> list[GivenFile]:
    inner = folder / _FOLDERS[role]
    root = inner if inner.is_dir() else folder
    endings = (f".{role}", f".{role}.gz")
    files = []
    for path in sorted(root.rglob("*")):
        hidden = any(map(is_hidden, path.relative_to(root).parts))
        if path.name.lower().endswith(endings) and path.is_file() and not hidden:
            try:
                setting = parse_setting(path.name[: path.name.lower().index(f".{role}")])
            except UsageError as error:
                raise DataError(f"{path}: its name says no setting: {error}") from None
            files.append(GivenFile(path, setting, str(path.relative_to(root))))
    if not files:
        raise DataError(
            f"{root}: holds no file <setting>{endings[0]} or <setting>{endings[1]}; name files of "
            f"other names one by one, --{role} SETTING=FILE"
        )
    return files
