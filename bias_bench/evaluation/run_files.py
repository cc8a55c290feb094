"""What a run folder's files were when the run left them, and whether they still are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bias_bench.errors import DataError
from bias_bench.evaluation.run_record import REPAIR, RunRecord
from bias_bench.system.files import digest, sha256_file

EXPERIMENT = "experiment.yaml"


def read_experiment_text(path: Path) -> str:
    """experiment.yaml without the place of the data, which decides no result.

    DataError where it is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: damaged (not text); {REPAIR}") from None
    return "\n".join(line for line in lines if not line.startswith("data_dir:")) + "\n"


def experiment_digest(folder: Path) -> str:
    """Digest of what a folder's experiment.yaml decides."""
    return digest(read_experiment_text(folder / EXPERIMENT))


def require_undamaged(folder: Path, record: RunRecord, names: Sequence[str]) -> None:
    """DataError for experiment.yaml or one of `names` that is not as the run left it."""
    wrong = "damaged: its checksum is not the one in manifest.json"
    path = folder / EXPERIMENT
    if record.experiment and path.is_file() and experiment_digest(folder) != record.experiment:
        raise DataError(f"{path}: {wrong}; {REPAIR}")
    for stage in record.stages.values():
        for name in names:
            file, path = stage.outputs.get(name), folder / name
            if file and path.is_file() and sha256_file(path) != file.sha256:
                raise DataError(f"{path}: {wrong}; repeat the run")
