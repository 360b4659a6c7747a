"""Take the room away from a run in its middle, give it back, run again: `python full_disk.py HOW ...`.

A program of its own, because a mount needs a namespace of its own: start it under `unshare`.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

LORI = [sys.executable, "-m", "flows.cli"]


def mounted(home: Path, options: str) -> None:
    """A file system of its own for the home; it is gone with the namespace."""
    home.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(home)], check=True)


def filled(home: Path, _run: psutil.Process) -> None:
    """Leave not a byte on the disk of the home."""
    with (home / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            return


def limited(_home: Path, run: psutil.Process) -> None:
    """Let no process of the run make a file longer than it already has most of."""
    for process in (run, *run.children(recursive=True)):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


WAYS: dict[str, Callable[[Path, psutil.Process], None]] = {"disk": filled, "limit": limited}


def main(how: str, file: str, home: Path, stages: int) -> None:
    """Print what the two runs said, and the versions they ended with."""
    if how == "disk":
        mounted(home, "size=120m")
    run = psutil.Popen(
        [*LORI, "run", file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while run.poll() is None and len(list(home.glob("stages/*/result.json"))) < stages:
        time.sleep(0.01)
    WAYS[how](home, run)
    _, said = run.communicate()
    (home / "ballast").unlink(missing_ok=True)
    again = subprocess.run([*LORI, "run", file], capture_output=True, text=True, check=False)
    versions = subprocess.run(
        [*LORI, "versions", "tiny", "--json"], capture_output=True, text=True, check=False
    )
    found = {
        "code": run.returncode,
        "said": said,
        "again": again.returncode,
        "versions": json.loads(versions.stdout or "null"),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(os.environ["LORI_HOME"]), int(sys.argv[3]))
