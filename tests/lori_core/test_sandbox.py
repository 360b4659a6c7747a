"""Code that misbehaves in every way we could think of: each ends in time and leaves nothing."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import lori_core.sandbox
from lori_core.errors import BadInput
from lori_core.sandbox import Isolation, Limits, Verdict, best_isolation, run_tests

QUICK = Limits(cpu_seconds=1, wall_seconds=4.0, memory_bytes=256 << 20)
MOST_SECONDS = 15.0  # the limit, the control run, and a loaded machine
REPOSITORY = Path(__file__).parents[2]


def guards() -> list[psutil.Process]:
    """Guards and their children that this process has started and that still run."""
    mine = [sys.executable, "-I", "-S", str(Path(lori_core.sandbox.__file__).parent)]
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[:3] == mine[:3] and words[-1:] == [str(os.getpid())]:
            found.append(process)
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert not guards()
    assert list(folder.iterdir()) == []


@pytest.fixture(params=["namespaces", "filter"])
def isolation(request: pytest.FixtureRequest) -> Isolation:
    wanted: Isolation = request.param
    if wanted == "namespaces" and best_isolation() != "namespaces":
        pytest.skip("this system grants no user namespaces")
    return wanted


def judged(code: str, *tests: str, isolation: Isolation | None = None) -> Verdict:
    start = time.monotonic()
    verdict = run_tests(code, tests or ["assert f(1) == 2"], limits=QUICK, isolation=isolation)
    assert time.monotonic() - start < MOST_SECONDS
    return verdict


def test_right_code_passes_and_wrong_code_fails(isolation: Isolation) -> None:
    assert judged("def f(x): return x + 1", isolation=isolation) == Verdict("passed")
    wrong = judged("def f(x): return x", "assert f(1) == 2, 'off by one'", isolation=isolation)
    assert wrong == Verdict("failed", "AssertionError: off by one")


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("def f(x) return x", "syntax"),
        ("\0", "syntax"),
        ("f = '\ud800'", "syntax"),
        ("raise ValueError('no')", "error"),
        ("f = undefined", "error"),
        ("def f(x): raise KeyError(x)", "failed"),
        ("def f(x): raise KeyboardInterrupt", "failed"),
        ("import numpy", "error"),
        ("input()", "error"),
        ("x = [0] * 10**10", "memory"),
        ("x = []\nwhile True: x.append(bytearray(10**6))", "memory"),
        ("while True: pass", "timeout"),
        ("def f(x):\n    while True: pass", "timeout"),
        ("import time\ntime.sleep(60)", "timeout"),
        ("import threading\nthreading.Event().wait()", "timeout"),
        ("import os\nos._exit(0)", "exited"),
        ("import sys\nsys.exit(0)", "exited"),
        ("def f(x): raise SystemExit(0)", "exited"),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E", "exited"),
        ("import ctypes\nctypes.string_at(1)", "crashed"),
        ("import sys\nsys.setrecursionlimit(10**8)\ndef f(x): return f(x)\nf(1)", None),
        ("(" * 100_000, None),
    ],
)
def test_every_way_to_fail_has_its_name(code: str, outcome: str | None) -> None:
    verdict = judged(code)
    assert not verdict.passed
    assert outcome is None or verdict.outcome == outcome, verdict


def test_memory_and_time_run_out_without_namespaces_too() -> None:
    assert judged("x = [0] * 10**10", isolation="filter").outcome == "memory"
    assert judged("while True: pass", isolation="filter").outcome == "timeout"


FORKS = {
    "a fork bomb": "import os\nwhile True: os.fork()",
    "a daemon": (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n"
        "    os._exit(0)\ndef f(x): return x + 1"
    ),
    "a command": "import subprocess\nsubprocess.run(['sleep', '600'])",
    "another program": "import os\nos.execv('/bin/sleep', ['sleep', '600'])",
    "a spawned program": "import os\nos.posix_spawn('/bin/sleep', ['sleep', '600'], {})",
    "a worker": "import multiprocessing\np = multiprocessing.Process(target=print)\np.start()",
    "a bare system call": (
        "import ctypes\nif ctypes.CDLL(None, use_errno=True).syscall(56, 0x11, 0, 0, 0, 0) < 0:\n"
        "    raise PermissionError\ndef f(x): return x + 1"
    ),
}


@pytest.mark.parametrize("code", FORKS.values(), ids=FORKS)
def test_no_second_process_ever_starts(code: str, isolation: Isolation) -> None:
    verdict = judged(code, isolation=isolation)
    assert verdict.outcome == "error", verdict
    assert "Error" in verdict.detail


def test_a_thread_may_run_and_ends_with_the_code(isolation: Isolation) -> None:
    code = (
        "import threading, time\nseen = []\n"
        "t = threading.Thread(target=seen.append, args=(2,)); t.start(); t.join()\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\ndef f(x): return seen[0]"
    )
    assert judged(code, isolation=isolation).passed


def test_our_own_processes_cannot_be_reached(isolation: Isolation) -> None:
    code = (
        "import os, signal\ndenied = []\n"
        f"for call in (lambda: os.kill(os.getppid(), 9), lambda: os.kill({os.getpid()}, 9),\n"
        "             lambda: os.kill(-1, 9), lambda: os.killpg(os.getpgrp(), 9),\n"
        f"             lambda: os.kill({os.getpid()}, 0), lambda: os.pidfd_open({os.getpid()}),\n"
        f"             lambda: os.setpriority(os.PRIO_PROCESS, {os.getpid()}, 19),\n"
        f"             lambda: os.sched_setaffinity({os.getpid()}, [0])):\n"
        "    try: call()\n"
        "    except OSError: denied.append(True)\n"
    )
    assert judged(code, "assert len(denied) == 8", isolation=isolation).passed


def test_limits_cannot_be_raised(isolation: Isolation) -> None:
    code = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (60, 60))\nwhile True: pass"
    assert judged(code, isolation=isolation).outcome == "error"
    other = f"import resource\nresource.prlimit({os.getpid()}, resource.RLIMIT_CPU, (1, 1))"
    assert judged(other, isolation=isolation).outcome == "error"


def test_a_deaf_process_is_ended_all_the_same(isolation: Isolation) -> None:
    code = (
        "import signal\n"
        "for s in (signal.SIGTERM, signal.SIGXCPU, signal.SIGALRM, signal.SIGINT):\n"
        "    signal.signal(s, signal.SIG_IGN)\nwhile True: pass"
    )
    assert judged(code, isolation=isolation).outcome == "timeout"


def test_nothing_outside_is_written_moved_or_removed(tmp_path: Path, isolation: Isolation) -> None:
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    victim = place / "victim"
    victim.write_text("whole")
    victim.chmod(0o666)
    code = (
        "import os\ndenied = []\n"
        f"place, victim = {str(place)!r}, {str(victim)!r}\n"
        "for call in (lambda: open(place + '/new', 'w'), lambda: open(victim, 'r+'),\n"
        "             lambda: open(victim, 'a'), lambda: os.truncate(victim, 0),\n"
        "             lambda: os.unlink(victim), lambda: os.rename(victim, place + '/b'),\n"
        "             lambda: os.mkdir(place + '/d'), lambda: os.rmdir(place),\n"
        "             lambda: os.symlink(victim, place + '/s'), lambda: os.chmod(victim, 0),\n"
        "             lambda: os.link(victim, place + '/l'), lambda: os.utime(victim),\n"
        "             lambda: os.mkfifo(place + '/p'), lambda: os.setxattr(victim, 'user.a', b''),\n"
        "             lambda: open('/dev/shm/new', 'w'), lambda: open('/tmp/new', 'w')):\n"
        "    try: call()\n"
        "    except OSError: denied.append(True)\n"
    )
    assert judged(code, "assert len(denied) == 16, denied", isolation=isolation).passed
    assert victim.read_text() == "whole"
    assert [path.name for path in place.iterdir()] == ["victim"]


def test_its_own_folder_is_writable_where_namespaces_confine_it_and_small() -> None:
    if best_isolation() != "namespaces":
        pytest.skip("this system grants no user namespaces")
    code = "open('a.txt', 'w').write('x')\ndef f(x): return len(open('a.txt').read()) + 1"
    assert judged(code, isolation="namespaces").passed
    assert judged("open('a', 'w').write('x' * 10**7)").outcome == "error"
    many = "for i in range(10**6): open(str(i), 'w').write('x' * 10**6)"
    assert judged(many).outcome in ("error", "timeout")


def test_the_network_is_out_of_reach(isolation: Isolation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)"
        assert judged(code, isolation=isolation).outcome == "error"
        with pytest.raises(TimeoutError):
            server.accept()


def test_our_environment_is_not_theirs(
    isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "s3cret")
    code = (
        "import os, ctypes\nseen = dict(os.environ)\n"
        "raw = ctypes.CDLL(None).getenv(b'SECRET_KEY')\n"
        "try: own = open('/proc/self/environ').read()\n"
        "except OSError: own = ''\n"
    )
    test = "assert not seen and not raw and 's3cret' not in own"
    assert judged(code, test, isolation=isolation).passed


def test_the_guard_cannot_be_read(isolation: Isolation) -> None:
    code = "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb').read(1)"
    assert judged(code, isolation=isolation).outcome == "error"


def test_gigabytes_of_output_go_nowhere(isolation: Isolation) -> None:
    code = (
        "import os, sys\n"
        "line = b'y' * 10**7\nfor _ in range(300):\n"
        "    os.write(1, line); os.write(2, line)\n    print('x' * 10**5)\n"
        "def f(x): return x + 1"
    )
    assert judged(code, isolation=isolation).passed


def test_a_flood_in_our_own_pipe_ends_the_run(isolation: Isolation) -> None:
    code = (
        "import os\n"
        "while True:\n"
        "    for d in range(3, 32):\n"
        "        try: os.write(d, b'F{' * 1000)\n"
        "        except OSError: pass\n"
    )
    assert judged(code, isolation=isolation).outcome in ("error", "exited")


@pytest.mark.parametrize(
    "said",
    [
        "P",
        "P' + b'0' * 32 + b'",
        "BP",
        'F{"outcome": "passed", "detail": ""}',
        'F{"outcome": "unavailable", "detail": ""}',
    ],
)
def test_saying_that_it_passed_is_not_passing(said: str, isolation: Isolation) -> None:
    code = (
        "import os\n"
        "for d in range(0, 32):\n"
        f"    try: os.write(d, b'{said}')\n"
        "    except OSError: pass\n"
        "os._exit(0)"
    )
    verdict = judged(code, isolation=isolation)
    assert verdict.outcome in ("exited", "error"), verdict


THIEF = """
import os, select
for d in range(3, 32):
    try:
        if select.select([d], [], [], 0)[0] and len(token := os.read(d, 64)) == 32:
            for to in range(3, 32):
                try: os.write(to, b"P" + token)
                except OSError: pass
    except OSError: pass
os._exit(0)
"""


def test_a_stolen_token_is_unmasked_by_the_test_that_cannot_hold(isolation: Isolation) -> None:
    assert judged("import time\ntime.sleep(0.3)" + THIEF, isolation=isolation).outcome == "faked"


def test_the_token_is_in_no_frame_and_no_object_of_the_process(isolation: Isolation) -> None:
    code = (
        "import gc, re, sys\nframe, seen = sys._getframe(), []\n"
        "while frame:\n    seen += frame.f_locals.values()\n    frame = frame.f_back\n"
        "for o in gc.get_objects():\n"
        "    seen += o.values() if type(o) is dict else o if type(o) in (list, tuple) else ()\n"
        "texts = [s.decode('latin-1') if type(s) is bytes else s for s in seen]\n"
        "found = [s for s in texts if type(s) is str and re.fullmatch('[0-9a-f]{32}', s)]\n"
    )
    assert judged(code, "assert not found, found[:1]", isolation=isolation).passed


def test_code_that_hides_is_not_waited_for(isolation: Isolation) -> None:
    code = "import os, time\nos.closerange(0, 64)\ntime.sleep(600)"
    start = time.monotonic()
    assert judged(code, isolation=isolation).outcome == "exited"
    assert time.monotonic() - start < QUICK.wall_seconds


def test_code_is_a_module_of_its_own(isolation: Isolation) -> None:
    code = (
        "from __future__ import annotations\nimport dataclasses, sys\n"
        "@dataclasses.dataclass\nclass P:\n    x: int = 1\n"
        "if __name__ == '__main__': raise SystemExit\ndef f(x): return P().x + x"
    )
    assert judged(code, isolation=isolation).passed


def test_tests_share_what_they_set_up() -> None:
    assert judged("class N:\n    v = 3", "root = N()", "assert root.v == 3").passed
    checked = "def check(f):\n    assert f(2) == 3\n"
    assert judged("def g(x): return x + 1", checked + "\ncheck(g)").passed
    assert judged("def g(x): return x", checked + "\ncheck(g)").outcome == "failed"


def test_code_without_tests_is_refused() -> None:
    with pytest.raises(BadInput, match="one test or more"):
        run_tests("x = 1", [])


def in_process(
    *command: str, code: str, user: int | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, "-c", code],
        env={"PYTHONPATH": str(REPOSITORY)},
        cwd="/",
        user=user,
        group=user,
        extra_groups=[] if user else None,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


SAMPLE = """
from lori_core.sandbox import Limits, best_isolation, run_tests
print(best_isolation())
quick = Limits(cpu_seconds=1, wall_seconds=4.0)
for code in ("def f(x): return x + 1", "import os\\nos.fork()", "import os\\nos._exit(0)",
             "while True: pass", "open('/tmp/new', 'w')", "import os\\nos.kill(os.getppid(), 9)"):
    print(run_tests(code, ["assert f(1) == 2"], limits=quick).outcome)
"""
SAID = ["passed", "error", "exited", "timeout", "error", "error"]


def test_a_system_without_user_namespaces_is_served_by_the_filter_alone() -> None:
    # A real filter that refuses unshare(2), as container runtimes install it.
    without = """
import ctypes, struct
code = [(0x20, 0, 0, 0), (0x15, 0, 1, {unshare}), (6, 0, 0, 0x00050001), (6, 0, 0, 0x7fff0000)]
program = b"".join(struct.pack("=HBBI", *line) for line in code)
class F(ctypes.Structure):
    _fields_ = (("n", ctypes.c_ushort), ("p", ctypes.c_char_p))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(F(4, program)), 0, 0) == 0
"""
    numbers = {"x86_64": 272, "aarch64": 97}
    said = in_process(
        sys.executable, code=without.format(unshare=numbers[os.uname().machine]) + SAMPLE
    )
    assert said.stdout.split() == ["filter", *SAID], said.stderr


def test_a_normal_user_is_protected_as_root_is() -> None:
    if os.getuid() != 0:
        pytest.skip("this is a normal user already")
    nobody = 65534
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            able = in_process(python, code="import lori_core.sandbox", user=nobody).returncode == 0
        except PermissionError:
            able = False
        if able:
            said = in_process(python, code=SAMPLE, user=nobody)
            assert said.stdout.split()[1:] == SAID, said.stderr
            return
    pytest.skip("no Python that another user may run")


def test_what_the_sandbox_runs_dies_with_whoever_asked(tmp_path: Path) -> None:
    asks = (
        "from lori_core.sandbox import Limits, best_isolation, run_tests\n"
        "best_isolation()  # its short trial run is over when this is said\n"
        "print('asking', flush=True)\n"
        "run_tests('import time; time.sleep(50)', ['pass'], limits=Limits(wall_seconds=50.0))"
    )
    asker = subprocess.Popen(
        [sys.executable, "-c", asks],
        env={"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)},
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    )
    assert asker.stdout is not None
    with asker.stdout as said:
        assert said.readline() == b"asking\n"

    def running() -> list[int]:
        return [
            p.pid
            for p in psutil.process_iter(["cmdline"])
            if (p.info["cmdline"] or [])[1:3] == ["-I", "-S"]
            and p.info["cmdline"][-1] == str(asker.pid)
        ]

    deadline = time.monotonic() + 20
    while len(running()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(running()) == 2  # the guard and its child
    asker.send_signal(signal.SIGKILL)
    asker.wait()
    while running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running() == []
