"""Commands of `lori` run in processes that were forked from one that has imported the libraries already.

A command that reads weights imports torch, transformers and MLflow first: four seconds of a core, of
which the command itself needs a tenth. `Lab.lori` runs all but `STARTED` this way. Those learn or
serve: they are always started as a user starts them. Of the rest `test_cli` starts one that way.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path

_LEARN = ("demo", "evaluate", "run", "submit")
_SERVE = ("dashboard", "serve-vllm", "up", "worker")
_PREFECT = ("automations", "pool", "schedules", "unschedule")
STARTED = frozenset((*_LEARN, *_SERVE, *_PREFECT))
"""Prefect reads the environment when it is imported, and what these start is theirs to end."""
ROOT = Path(__file__).parents[2]
_PRELOADED = "tests.flows.prepared_imports"


def _forks() -> ForkServerContext:
    if str(ROOT) not in sys.path:  # pytest may have been started in a folder below
        sys.path.append(str(ROOT))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOADED])  # heard once: when the first process is asked for
    return context


def run_prepared(
    arguments: tuple[str, ...], environment: Mapping[str, str], folder: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of `python -m flows.cli`, with what it wrote as text."""
    with tempfile.TemporaryDirectory() as place:
        said = [Path(place) / name for name in ("stdout", "stderr")]
        process = _forks().Process(
            target=_lori, args=(arguments, dict(environment), folder, *map(str, said))
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["lori", *arguments], timeout)
        out, err = (each.read_text(encoding="utf-8") for each in said)
        return subprocess.CompletedProcess(["lori", *arguments], process.exitcode, out, err)


def _lori(
    arguments: tuple[str, ...], environment: dict[str, str], folder: Path, out: str, err: str
) -> None:
    """The whole of the forked process."""
    from flows.cli import lori

    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["lori", *arguments]
    lori(list(arguments), prog_name="lori")
