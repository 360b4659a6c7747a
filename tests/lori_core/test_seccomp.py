"""The filter's numbers against the kernel's headers, and its program against an interpreter of it."""

import re
import struct
from pathlib import Path

import pytest

import lori_core.seccomp
from lori_core.seccomp import SYSCALLS, sandbox_filter

X86 = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
GENERIC = Path("/usr/include/asm-generic/unistd.h")
X86_ARCHITECTURE, ARM_ARCHITECTURE = 0xC000003E, 0xC00000B7
ALLOWED = "allowed"


def judge(program: bytes, architecture: int, number: int, *arguments: int) -> str:
    """Run a filter as the kernel would: a small machine with one register."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    lines = list(struct.iter_unpack("=HBBI", program))
    at, register = 0, 0
    while True:
        code, yes, no, k = lines[at]
        at += 1
        if code == 0x20:
            (register,) = struct.unpack_from("=I", data, k)
        elif code == 0x06:
            if k == 0x7FFF0000:
                return ALLOWED
            return "killed" if k == 0x80000000 else f"errno {k & 0xFFFF}"
        else:
            holds = {0x15: register == k, 0x35: register >= k, 0x45: bool(register & k)}[code]
            at += yes if holds else no


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    monkeypatch.setattr(lori_core.seccomp.platform, "machine", lambda: request.param)
    return (0, X86_ARCHITECTURE) if request.param == "x86_64" else (1, ARM_ARCHITECTURE)


def verdict(machine: tuple[int, int], name: str, *arguments: int, writes: bool = True) -> str:
    column, architecture = machine
    program = sandbox_filter(writes=writes)
    number = SYSCALLS[name][column]
    assert program is not None
    if number is None:
        pytest.skip(f"no {name} on this machine")
    return judge(program, architecture, number, *arguments)


@pytest.mark.parametrize(
    "name", ["fork", "execve", "kill", "ptrace", "socket", "unshare", "shmget", "io_uring_setup"]
)
@pytest.mark.parametrize("writes", [True, False])
def test_other_processes_and_the_network_are_refused(
    machine: tuple[int, int], name: str, writes: bool
) -> None:
    assert verdict(machine, name, writes=writes) == "errno 1"


def test_a_thread_may_be_cloned_and_a_process_not(machine: tuple[int, int]) -> None:
    thread = 0x3D0F00  # what the C library asks for
    assert verdict(machine, "clone", thread) == ALLOWED
    assert verdict(machine, "clone", 0x01200011) == "errno 1"
    assert verdict(machine, "clone", 17) == "errno 1"
    assert verdict(machine, "clone3") == "errno 38"


def test_only_its_own_limits_and_never_its_death_signal(machine: tuple[int, int]) -> None:
    assert verdict(machine, "prlimit64", 0) == ALLOWED
    assert verdict(machine, "prlimit64", 1234) == "errno 1"
    assert verdict(machine, "prctl", 1, 0) == "errno 1"
    assert verdict(machine, "prctl", 15) == ALLOWED  # the name of a thread


@pytest.mark.parametrize("flags", [0o1, 0o2, 0o101, 0o1001, 0o102 | 0o2000000])
def test_opening_to_write_is_refused_where_nothing_else_confines_it(
    machine: tuple[int, int], flags: int
) -> None:
    assert verdict(machine, "openat", 0, 0, flags, writes=False) == "errno 13"
    assert verdict(machine, "openat", 0, 0, flags, writes=True) == ALLOWED
    assert verdict(machine, "openat", 0, 0, 0o2000000, writes=False) == ALLOWED  # to read


@pytest.mark.parametrize("name", ["unlinkat", "renameat2", "mkdirat", "truncate", "fchmodat"])
def test_changing_a_file_system_is_refused_where_nothing_else_confines_it(
    machine: tuple[int, int], name: str
) -> None:
    assert verdict(machine, name, writes=False) == "errno 1"
    assert verdict(machine, name, writes=True) == ALLOWED


def test_another_numbering_of_the_calls_is_the_end(machine: tuple[int, int]) -> None:
    program = sandbox_filter(writes=False)
    assert program is not None
    assert judge(program, 0x40000003, 1) == "killed"  # 32-bit x86
    assert judge(program, machine[1], 0x40000000 | 59) == "killed"  # x32


def test_reading_is_allowed(machine: tuple[int, int]) -> None:
    program = sandbox_filter(writes=False)
    assert program is not None
    assert judge(program, machine[1], {0: 0, 1: 63}[machine[0]]) == ALLOWED


def test_a_machine_without_known_numbers_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lori_core.seccomp.platform, "machine", lambda: "riscv64")
    assert sandbox_filter(writes=True) is None


@pytest.mark.skipif(not X86.exists(), reason="no kernel headers for x86-64")
def test_the_numbers_for_x86_are_the_kernels() -> None:
    known = dict(re.findall(r"#define __NR_(\w+) (\d+)", X86.read_text()))
    wrong = {n: x for n, (x, _) in SYSCALLS.items() if n in known and str(x) != known[n]}
    assert not wrong
    assert len(set(SYSCALLS) - set(known)) < 8  # younger than the headers


@pytest.mark.skipif(not GENERIC.exists(), reason="no kernel headers")
def test_the_numbers_for_arm_are_the_kernels() -> None:
    known = dict(re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", GENERIC.read_text()))
    wrong = {n: a for n, (_, a) in SYSCALLS.items() if n in known and str(a) != known[n]}
    assert not wrong
    absent = {n for n, (_, a) in SYSCALLS.items() if a is None and n in known}
    assert absent <= {"renameat"}
