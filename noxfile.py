"""Sessions: demo (the main job), tests, faults, lint, types, docs, bench; installing as needed."""

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

# locked, so that a new release of a linter never breaks a build by itself
RUFF = "ruff==0.17.6"
MYPY = "mypy==2.4.1"
# torch with threads of its own in every test process slows down severalfold
THREADS = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}


@nox.session
def demo(session: nox.Session) -> None:
    """Install biasbench and run the embedded benchmark."""
    session.install("-e", ".[offline]")
    session.run("biasbench", "run", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests; arguments after -- go to pytest, for example -m 'not slow'."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.support.browser")  # fetches one where there is none
    # a thread each: two processes with two threads each would slow each other down
    session.run("pytest", "-n", "2", "--dist", "loadfile", *session.posargs, env=THREADS)


@nox.session
def faults(session: nox.Session) -> None:
    """Hundreds of kills, full disks, damaged files, and readers fed with thousands of odd files."""
    session.install("-e", ".[test]")
    many = {**THREADS, "BIASBENCH_FAULTS": "300", "BIASBENCH_FUZZ": "2000"}
    files = ["faults", "stored_corpora", "full_disk", "concurrent_runs", "damage", "fuzz"]
    files = [f"tests/test_{name}.py" for name in [*files, "fuzz_models", "security"]]
    session.run("pytest", "-s", *files, *session.posargs, env=many)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and common mistakes."""
    session.install(RUFF)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Static types."""
    session.install(MYPY, "numpy>=2,<3", "pydantic>=2.8", "typer>=0.29", "types-PyYAML")
    session.install("jinja2>=3.1", "rich>=13", "filelock>=3.15", "platformdirs>=4")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, in site/; a dead link fails. Light parts are enough for its commands."""
    session.install("mkdocs-material>=9.6,<10", "typer>=0.29", "pydantic>=2.8", "pyyaml>=6")
    session.install("--no-deps", "-e", ".")
    session.run("mkdocs", "build", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """Speed against peers, as ratios; arguments after -- name the benchmarks."""
    session.install("-e", ".[bench]")
    session.run("python", "-m", "benchmarks", *session.posargs)
