"""The process that stands between us and generated code. Run as a script, with `python -I -S`.

It reads a job as JSON on stdin, runs it in a child of its own, and writes one verdict as JSON on
stdout. The child cannot reach it: see `seccomp.py` for what it may not do. Only the child's whole
run (the code, then every test) leads to the point where it takes the token out of a pipe and hands
it back; a child that ends earlier, however cleanly, has not passed. The caller runs what passed once
more with a test that must fail, which unmasks an answer that found the token by itself.

Nothing but the standard library is imported, and nothing of this project.
"""

import base64
import ctypes
import json
import os
import resource
import signal
import sys
import types

Job = dict[str, object]

_NEW_NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""Mount, UTS, IPC, user, PID and network namespaces."""
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_SECCOMP, _NO_NEW_PRIVILEGES = 1, 4, 22, 38
_MOST_ANSWERED = 1 << 16
_BEGUN = b"B"
"""Said by the child when every door is closed: nothing after it is about this system."""
_OUTCOMES = ("failed", "error", "syntax", "memory", "exited")

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Read the job, run it, write the verdict."""
    _call("prctl", _SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)  # whoever asked is gone already
    job: Job = json.loads(sys.stdin.buffer.read())
    try:
        if job["namespaces"]:
            _enter_namespaces()
        _call("prctl", _SET_DUMPABLE, 0, 0, 0, 0)
        verdict = _run(job)
    except OSError as error:
        verdict = {"outcome": "unavailable", "detail": str(error)}
    sys.stdout.write(json.dumps(verdict))


def _run(job: Job) -> dict[str, str]:
    answers, answer_in = os.pipe()
    token_out, token_in = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(answers)
        os.close(token_in)
        _child(job, answer_in, token_out)
    os.close(answer_in)
    token = os.urandom(16).hex().encode()  # made after the fork: the child's memory has no copy
    late: list[bool] = []

    def end(signum: int, frame: types.FrameType | None) -> None:
        late.append(True)
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, _number(job, "wall_seconds"))
    os.write(token_in, token)  # our own end to read is still open: the child may be gone already
    answer = b""
    while len(answer) <= _MOST_ANSWERED and (part := os.read(answers, _MOST_ANSWERED)):
        answer += part
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.kill(child, signal.SIGKILL)  # it has ended, or has said too much, or hides
    _, status, used = os.wait4(child, 0)
    return _verdict(answer, token, status, used.ru_utime + used.ru_stime, bool(late), job)


def _verdict(
    answer: bytes, token: bytes, status: int, seconds: float, late: bool, job: Job
) -> dict[str, str]:
    begun, answer = answer.startswith(_BEGUN), answer.removeprefix(_BEGUN)
    if begun and answer == b"P" + token:
        return {"outcome": "passed", "detail": ""}
    if answer.startswith(b"F{"):
        try:
            told = json.loads(answer[1:])
            outcome, detail = told["outcome"], str(told["detail"])[:500]
        except (ValueError, KeyError, TypeError):
            outcome, detail = "error", "an answer that is none"
        if outcome in _OUTCOMES if begun else outcome == "unavailable":
            return {"outcome": outcome, "detail": detail}
    if late:
        return {"outcome": "timeout", "detail": f"over {job['wall_seconds']} s"}
    if os.WIFSIGNALED(status) and seconds > _number(job, "cpu_seconds") - 0.5:
        return {"outcome": "timeout", "detail": f"over {job['cpu_seconds']} s of CPU time"}
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        return {"outcome": "crashed", "detail": f"signal {os.WTERMSIG(status)}"}
    return {"outcome": "exited", "detail": "ended before its tests did"}


def _child(job: Job, answer_to: int, token_from: int) -> None:
    """Close every door, run code and tests, say what happened, end. Never returns."""
    report = _Report(answer_to)
    with report:
        _call("prctl", _SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        folder = str(job["folder"])
        if job["namespaces"]:
            _confine_writing(folder)
        os.chdir(folder)
        os.environ.clear()
        _limit(job)
        _drop_privileges()
        _filter_calls(base64.b64decode(str(job["filter"])))
        os.write(answer_to, _BEGUN)
        report.stage = "syntax"
        code = compile(str(job["code"]), "candidate.py", "exec")
        tests = job["tests"]
        assert isinstance(tests, list)
        candidate = types.ModuleType("candidate")
        sys.modules["candidate"] = candidate
        report.stage = "code"
        run, read, write, leave = exec, os.read, os.write, os._exit
        run(code, vars(candidate))
        report.stage = "tests"
        for test in tests:
            run(compile(test, "test.py", "exec"), vars(candidate))
        write(answer_to, b"P" + read(token_from, 64))
        leave(0)


class _Report:
    """Whatever ends the child's run early is told to the guard, by kind, and ends the child."""

    def __init__(self, answer_to: int) -> None:
        self.stage = "unavailable"
        self._answer_to, self._write, self._leave = answer_to, os.write, os._exit
        self._dumps = json.dumps

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        assert kind is not None
        if self.stage in ("unavailable", "syntax"):
            outcome = self.stage
        elif issubclass(kind, MemoryError):
            outcome = "memory"
        elif issubclass(kind, SystemExit):
            outcome = "exited"
        else:
            outcome = "failed" if self.stage == "tests" else "error"
        detail = f"{kind.__name__}: {error}".removesuffix(": ")[:500]
        told = self._dumps({"outcome": outcome, "detail": detail})
        self._write(self._answer_to, b"F" + told.encode())
        self._leave(0)


def _limit(job: Job) -> None:
    """Set the limits; nothing can raise them again without privileges."""
    for limit, most in (
        (resource.RLIMIT_CPU, job["cpu_seconds"]),
        (resource.RLIMIT_AS, job["memory_bytes"]),
        (resource.RLIMIT_FSIZE, job["file_bytes"]),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        assert isinstance(most, int)
        resource.setrlimit(limit, (most, most))


def _enter_namespaces() -> None:
    """A user, PID, mount, network, IPC and host name of our own, from the next child on."""
    user, group = os.getuid(), os.getgid()
    _call("unshare", _NEW_NAMESPACES)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        file = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(file, text.encode())
        os.close(file)


def _confine_writing(folder: str) -> None:
    """Everything read-only, /proc empty, and a small file system in memory at `folder`."""
    read_only, private, recursive = 1, 1 << 18, 0x8000
    attributes = (ctypes.c_uint64 * 4)(read_only, 0, private, 0)
    _call("syscall", 442, -100, b"/", recursive, attributes, ctypes.sizeof(attributes))
    nothing_special = 2 | 4 | 8  # no set-uid, no devices, no programs
    options = b"size=16m,nr_inodes=256,mode=700"
    _call("mount", b"tmpfs", folder.encode(), b"tmpfs", nothing_special, options)
    _call("mount", b"tmpfs", b"/proc", b"tmpfs", nothing_special | read_only, b"size=4k")


def _drop_privileges() -> None:
    """No capabilities, for root as well, and none to be gained."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    none = (ctypes.c_uint32 * 6)()
    _call("capset", header, none)
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def _filter_calls(program: bytes) -> None:
    """Install the filter; see `seccomp.py`."""

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))

    _call("prctl", _SET_SECCOMP, 2, ctypes.byref(Filter(len(program) // 8, program)), 0, 0)


def _call(name: str, *arguments: object) -> None:
    """Call the C library; raise OSError when it says no."""
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    if _libc[name](*given) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def _number(job: Job, name: str) -> float:
    value = job[name]
    assert isinstance(value, int | float)
    return value


if __name__ == "__main__":
    main()
