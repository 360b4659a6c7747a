"""A PostgreSQL server with its contributed extensions, as the postgres image has them.

Prefect's server does not start without `pg_trgm`, which the PostgreSQL of our wheel lacks. A system's
own installation has it; where there is none, the wheel's server does and Prefect keeps to SQLite.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.registry.servers import NotHere, postgresql

EXTENSION = "pg_trgm"


@dataclass(frozen=True)
class Server:
    """A running one, on a socket in its data folder, trusting who reaches that."""

    data: Path
    tools: Path
    whole: bool
    """Whether it has the extensions."""


def installed() -> Path | None:
    """The newest installation's programs, if one with the extensions is here."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
    for program in found:
        share = Path("/usr/share/postgresql") / program.parents[1].name / "extension"
        if (share / f"{EXTENSION}.control").is_file():
            return program.parent
    return None


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """Start one. Raises tests.registry.servers.NotHere where none starts."""
    tools = installed()
    if tools is None:
        with postgresql(folder) as wheel:
            opened = (wheel.data / "postmaster.opts").read_text().split()[0]
            yield Server(wheel.data, Path(opened).parent, whole=False)
        return
    place = Path(tempfile.mkdtemp(prefix="lori-pg-"))  # its own user must reach it
    user = None
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        user = "nobody"
        os.chown(place, pwd.getpwnam(user).pw_uid, -1)
    data = place / "pg"
    made = [tools / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"]
    subprocess.run(made, user=user, cwd=place, check=True, capture_output=True)
    run = [tools / "postgres", "-D", data, "-h", "", "-k", data, "-F"]
    running = subprocess.Popen(
        run, user=user, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        ready = [tools / "pg_isready", "-h", data, "-U", "postgres"]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, capture_output=True).returncode:
            if running.poll() is not None or time.monotonic() > deadline:
                raise NotHere("the installed PostgreSQL does not start here")
            time.sleep(0.1)
        yield Server(data, tools, whole=True)
    finally:
        running.send_signal(signal.SIGQUIT)
        running.wait()
        shutil.rmtree(place, ignore_errors=True)
