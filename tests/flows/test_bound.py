import os
import signal
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from flows.bound import ORPHANED, bound_command

PARENT = """
import subprocess, sys, time
from flows.bound import bound_command
child = subprocess.Popen(bound_command(sys.executable, "-c", "import time; time.sleep(60)"))
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_bound_command_dies_with_its_parent_however_that_dies(
    number: signal.Signals, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()
    parent.send_signal(number)
    parent.wait()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    parent.stdout.close()


def test_a_command_whose_parent_died_before_it_was_bound_does_not_start() -> None:
    command = bound_command("echo", "started")
    command[command.index(str(os.getpid()))] = "1"  # as if it had been re-parented in between
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (ORPHANED, "")


def test_a_bound_command_is_the_command_itself() -> None:
    answer = subprocess.run(bound_command("echo", "a", "b c"), capture_output=True, check=True)
    assert answer.stdout == b"a b c\n"
