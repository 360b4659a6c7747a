"""Homes that are served as `lori dashboard` serves them, each by a process of its own."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.bound import bound_command
from registry.accounts import TOKEN_VARIABLE
from registry.home import HOME_VARIABLE
from registry.settings import REGISTRY_VARIABLE, TRACKING_VARIABLE

ROOT = Path(__file__).parents[3]
STOP_SECONDS = 20


@dataclass(frozen=True)
class Site:
    """A dashboard that answers."""

    home: Path
    url: str
    token: str | None
    """What it printed: writing takes it while the registry has no account."""
    pid: int


@contextmanager
def served(home: Path, *, more: Mapping[str, str] | None = None, port: int = 0) -> Iterator[Site]:
    """`lori dashboard` over a home, until the block ends; nothing of it is left then."""
    command = bound_command(sys.executable, "-m", "flows.cli", "dashboard", "--port", str(port))
    ours = {HOME_VARIABLE: str(home), "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    others = {TOKEN_VARIABLE, REGISTRY_VARIABLE, TRACKING_VARIABLE}
    known = {name: value for name, value in os.environ.items() if name not in others}
    said = home.parent / f"{home.name}-dashboard.log"
    with said.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            env={**known, **ours, **(more or {})},
            cwd=home.parent,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        url = _told(process, "dashboard ", said)
        assert url is not None
        token = _told(process, "token ", said) if _open(url) else None
        yield Site(home=home, url=url, token=token, pid=process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _told(process: "subprocess.Popen[str]", begin: str, said: Path) -> str:
    """What follows `begin` on the next line that a dashboard prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(begin), f"{line!r}; {said.read_text(encoding='utf-8')}"
    return line.removeprefix(begin).strip()


def _open(url: str) -> bool:
    """Whether everybody may read, so that there is a token."""
    try:
        with urllib.request.urlopen(f"{url}/api/sequences", timeout=30) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False
