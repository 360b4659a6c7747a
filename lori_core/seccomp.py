"""The system calls that generated code may not make, as a filter program for the Linux kernel.

A filter needs no privilege, holds for root too, and cannot be taken off. It is the sandbox's one
indispensable wall: no new process, no other program, no signal to anybody, no network, no look into
another process, and, where nothing else confines writing, no writing to any file system.
"""

import platform
import struct
import sys
from collections.abc import Iterable

_EPERM, _EACCES, _ENOSYS = 1, 13, 38
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # offsets in the kernel's struct seccomp_data
_X32 = 0x40000000  # x86-64's second numbering of the same calls

_CLONE_THREAD = 0x00010000
_SET_DEATH_SIGNAL = 1
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

# name -> its number on x86-64 and on arm64; None where it does not exist.
SYSCALLS: dict[str, tuple[int | None, int | None]] = {
    # another process, another program
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    # signals
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434),
    # looking into, or slowing, another process
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "perf_event_open": (298, 241), "bpf": (321, 280),
    "userfaultfd": (323, 282), "setpriority": (141, 140), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274), "ioprio_set": (251, 30), "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # network, and the ring that would make calls unseen
    "socket": (41, 198), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # what would outlive the process, or give back privileges
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "unshare": (272, 97), "setns": (308, 268),
    # told to be absent, so that the C library takes the older call whose arguments can be seen
    "clone3": (435, 435), "openat2": (437, 437),
    # allowed by their arguments
    "clone": (56, 220), "prctl": (157, 167), "prlimit64": (302, 261), "open": (2, None),
    "openat": (257, 56),
    # writing
    "creat": (85, None), "truncate": (76, 45), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276), "unlink": (87, None), "unlinkat": (263, 35), "rmdir": (84, None),
    "mkdir": (83, None), "mkdirat": (258, 34), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36), "mknod": (133, None), "mknodat": (259, 33),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "removexattrat": (466, 466), "open_by_handle_at": (304, 265),
}  # fmt: skip

_NAMES = list(SYSCALLS)
_ABSENT = ("clone3",)
_REFUSED = tuple(_NAMES[: _NAMES.index("clone3")])
_WRITES = tuple(_NAMES[_NAMES.index("creat") :])


def sandbox_filter(*, writes: bool) -> bytes | None:
    """The filter as the kernel takes it (an array of struct sock_filter), for this machine.

    Args:
        writes: leave writing to files alone, because something else confines it.

    Returns:
        The program, or None where no numbering is known for this machine.
    """
    machine = _MACHINES.get(platform.machine()) if sys.platform == "linux" else None
    if machine is None:
        return None
    column, architecture = machine
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_IF_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    program += _refuse(_REFUSED, column, _EPERM)
    program += _refuse(_ABSENT, column, _ENOSYS)
    # A new thread, not a new process.
    program += _inspect("clone", column, 0, (_IF_ANY_BIT, 1, 0, _CLONE_THREAD), _EPERM)
    # Whoever ends the sandbox ends this process: that stays so.
    program += _inspect("prctl", column, 0, (_IF_EQUAL, 0, 1, _SET_DEATH_SIGNAL), _EPERM)
    # Its own limits only.
    program += _inspect("prlimit64", column, 0, (_IF_EQUAL, 1, 0, 0), _EPERM)
    if not writes:
        program += _refuse(_WRITES, column, _EPERM)
        program += _refuse(("openat2",), column, _ENOSYS)
        program += _inspect("open", column, 1, (_IF_ANY_BIT, 0, 1, _WRITING), _EACCES)
        program += _inspect("openat", column, 2, (_IF_ANY_BIT, 0, 1, _WRITING), _EACCES)
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


_Instruction = tuple[int, int, int, int]


def _refuse(names: Iterable[str], column: int, error: int) -> list[_Instruction]:
    program: list[_Instruction] = []
    for name in names:
        number = SYSCALLS[name][column]
        if number is not None:
            program += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | error)]
    return program


def _inspect(
    name: str, column: int, argument: int, test: _Instruction, error: int
) -> list[_Instruction]:
    """Allow or refuse a call by one argument's low 32 bits. A jump of 0 in `test` refuses."""
    number = SYSCALLS[name][column]
    if number is None:
        return []
    return [
        (_IF_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, 16 + 8 * argument),
        test,
        (_RETURN, 0, 0, _ERRNO | error),
        (_RETURN, 0, 0, _ALLOW),
    ]
