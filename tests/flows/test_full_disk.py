"""The room is gone in the middle of a run, or was never there: a line, and later the same bits."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import ROOT, Lab

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("full_disk.py")


def namespace() -> list[str]:
    """The command that gives what follows mounts of its own; skips where that is not allowed."""
    unshare = shutil.which("unshare")
    command = [str(unshare), "--user", "--map-root-user", "--mount"]
    if unshare is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("no mount namespaces here")
    return command


def in_environment(lab: Lab, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, "LORI_HOME": str(lab.home), "PYTHONPATH": str(ROOT)},
        cwd=lab.folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("how", "stages"), [("disk", 2), ("limit", 4)])
def test_a_run_that_is_out_of_room_says_so_and_goes_on_to_the_same_adapters(
    lab: Lab, learned_once: Lab, how: str, stages: int
) -> None:
    inside = namespace() if how == "disk" else []
    command = [sys.executable, str(PROGRAM), how, str(lab.file), str(stages)]
    answer = in_environment(lab, [*inside, *command])
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["code"] == 2, found["said"]
    last = found["said"].splitlines()[-1]  # after the progress of what was learned before
    assert "room" in last
    assert "Traceback" not in found["said"]
    assert found["again"] == 0
    calm = json.loads(learned_once.lori("versions", "tiny", "--json").stdout)
    assert len(found["versions"]) == 2
    for one, other in zip(found["versions"], calm, strict=False):
        for digest in ("adapter_sha256", "mask_sha256"):
            assert one[digest] == other[digest]


READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"
"""


@pytest.mark.parametrize("place", ["home", "."])
def test_a_read_only_mount_is_one_line(lab: Lab, place: str) -> None:
    """The home itself is read-only, or the folder in which it would be made."""
    if place == "home":
        lab.home.mkdir()
    mount = ["sh", "-c", READ_ONLY, "sh", str(lab.folder / place)]
    run = [sys.executable, "-m", "flows.cli", "run", str(lab.file)]
    answer = in_environment(lab, [*namespace(), *mount, *run])
    assert answer.returncode == 2, answer.stderr
    assert "Read-only file system" in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert answer.stdout == ""
