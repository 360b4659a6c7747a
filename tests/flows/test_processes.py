import subprocess
import sys
from dataclasses import replace

import psutil

from flows.processes import end, identify, myself

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
FAMILY = [
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])",
]


def test_a_process_is_known_by_pid_and_start_time() -> None:
    me = myself("test")
    assert me.alive()
    assert not replace(me, started=me.started - 10).alive()  # the pid of somebody else by now


def test_an_ended_process_is_not_alive_even_as_a_zombie() -> None:
    child = subprocess.Popen(SLEEPER)
    known = identify(child.pid, "sleeper")
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert not known.alive()
    child.wait()


def test_ending_a_process_ends_what_it_started() -> None:
    child = subprocess.Popen(FAMILY)
    while not psutil.Process(child.pid).children():
        pass
    grandchildren = psutil.Process(child.pid).children(recursive=True)
    assert end(identify(child.pid, "family"))
    child.wait()
    assert psutil.wait_procs(grandchildren, timeout=5)[1] == []


def test_a_pid_that_was_given_away_again_is_left_alone() -> None:
    child = subprocess.Popen(SLEEPER)
    stranger = replace(identify(child.pid, "sleeper"), started=1.0)
    assert not end(stranger)
    assert child.poll() is None
    child.kill()
    child.wait()
