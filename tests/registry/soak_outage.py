"""The database restarts amid registrations; the disk is full; the home may not be written.

Acceptance 7. A registration that finds no database says so in one line, and ends when it is run again.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from lori_core.errors import BadInput, Unavailable
from registry import doctor
from registry.store import open_registry
from tests.registry.servers import PostgreSQL
from tests.registry.soak_cases import assert_whole, declare, file

CLERKS = 4
PATIENCE = 120.0


def restart_amid(folder: Path, server: PostgreSQL, registrations: int, *, down: float = 2.0) -> str:
    """Restart PostgreSQL, which holds our rows and MLflow's, when half the registrations are done."""
    home = folder / ".lori"
    each = registrations // CLERKS
    names = [f"s{clerk}" for clerk in range(CLERKS)]
    with open_registry(home) as registry:
        for name in names:
            declare(registry, name, each)
    command = [sys.executable, "-m", "tests.registry.soak_outage", "clerk"]
    command += ["--home", str(home), "--work", str(folder), "--each", str(each)]
    clerks = [
        subprocess.Popen(
            [*command, "--sequence", name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    done = folder / "done"
    while len(list(done.glob("*"))) < CLERKS * each // 2:
        assert any(clerk.poll() is None for clerk in clerks), "all ended before the restart"
        time.sleep(0.05)
    at = len(list(done.glob("*")))
    server.restart(down)
    told = [clerk.communicate() for clerk in clerks]
    for clerk, (_, errors) in zip(clerks, told, strict=True):
        assert clerk.returncode == 0, errors[-3000:]
    refusals = [line for output, _ in told for line in output.splitlines()]
    for name in names:
        assert_whole(home, name, each)
    return (
        f"restarted after {at} of {CLERKS * each} registrations, away for {down:.0f} s and more:"
        f" all {CLERKS * each} ended, none twice; {len(refusals)} were told of it in one line each"
        " and run again"
    )


def _patient_clerk(home: Path, work: Path, sequence: str, each: int) -> None:
    """File every version; where the store does not answer, wait a moment and run the same again."""
    (work / "done").mkdir(exist_ok=True)
    deadline = time.monotonic() + PATIENCE
    for version in range(1, each + 1):
        while True:
            try:
                with open_registry(home) as registry:
                    file(registry, work, sequence, version)
                break
            except Unavailable as refusal:
                if time.monotonic() > deadline:
                    raise
                sys.stdout.write(" ".join(str(refusal).splitlines()) + "\n")
                time.sleep(0.5)
        (work / "done" / f"{sequence}-{version}").touch()


def full_disk(folder: Path) -> str:
    """No file may grow: one clear line, and what was there stays; with room, it goes on."""
    return _refused(folder, "full", "--bytes", "0")


def read_only(folder: Path) -> str:
    """The home belongs to somebody else: one clear line, and what was there stays."""
    return _refused(folder, "read-only", "--user", "65534")


def _refused(folder: Path, name: str, *how: str) -> str:
    home = folder / ".lori"
    with open_registry(home) as registry:
        declare(registry, name, 2)
        file(registry, folder, name, 1)
    before = assert_whole(home, name, 1)
    command = [sys.executable, "-m", "tests.registry.soak_outage", "refused", "--home", str(home)]
    command += ["--work", str(folder), "--sequence", name, "--each", "2", *how]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == 2, (child.returncode, child.stderr[-3000:])
    assert len(child.stdout.splitlines()) == 1, child.stdout
    with open_registry(home) as registry:
        assert registry.versions(name)[:1] == before
        registry.artifact_path(name, 1)
        assert all(each.what == "half-registered" for each in doctor.examine(registry))
        file(registry, folder, name, 2)
    assert_whole(home, name, 2)
    return child.stdout.strip()


def _refused_clerk(
    home: Path, work: Path, sequence: str, version: int, limit: int | None, user: int | None
) -> int:
    """File a version where nothing can be written; exits 2 with the one line, as `lori` does."""
    import registry.mlflow_artifacts

    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if user is not None:
        os.setgid(user)
        os.setuid(user)
    try:
        with open_registry(home) as registry:
            file(registry, work, sequence, version)
    except BadInput as refusal:
        os.write(1, (str(refusal) + "\n").encode())
        return 2
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("clerk", "refused"))
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sequence", required=True)
    parser.add_argument("--each", type=int, required=True)
    parser.add_argument("--bytes", type=int)
    parser.add_argument("--user", type=int)
    given = parser.parse_args()
    if given.what == "clerk":
        _patient_clerk(given.home, given.work, given.sequence, given.each)
        sys.exit(0)
    sys.exit(
        _refused_clerk(given.home, given.work, given.sequence, given.each, given.bytes, given.user)
    )
