import errno
import os
import signal

import click
import pytest
from click.testing import CliRunner, Result

from flows.edge import Edge, Interrupted, Terminated, signals_end_this
from lori_core.errors import BadInput, DigestMismatch


def run_raising(error: BaseException | None) -> Result:
    @click.group(cls=Edge)
    def group() -> None:
        pass

    @group.command()
    def command() -> None:
        if error is not None:
            raise error

    return CliRunner().invoke(group, ["command"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BadInput("r 0", "at least 1", "Raise\nit."), 2, "r 0: expected at least 1. Raise it.\n"),
        (DigestMismatch("layer x", "a" * 64, "b" * 64), 1, "layer x: digest is"),
        (OSError(errno.ENOSPC, "No space left on device", "/h/x"), 2, "/h/x (No space left"),
        (OSError(errno.EROFS, "Read-only file system", "/h"), 2, "/h (Read-only file system)"),
        (OSError(errno.EFBIG, "File too large", "/h/x"), 2, "/h/x (File too large)"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/f/x"), 2, "/f/x (Not a dir"),
        (PermissionError(errno.EACCES, "Permission denied", "/h"), 2, "/h (Permission denied)"),
        (KeyboardInterrupt(), 130, "Stopped.\n"),
        (Interrupted(), 130, "Stopped.\n"),
        (Terminated(143), 143, "Stopped.\n"),
        (None, 0, ""),
    ],
)
def test_an_error_of_the_user_is_one_line_and_an_exit_code(
    error: BaseException | None, code: int, said: str
) -> None:
    answer = run_raising(error)
    assert answer.exit_code == code
    assert answer.stderr.startswith(said)
    assert answer.stderr.count("\n") == bool(said)
    assert answer.stdout == ""


@pytest.mark.parametrize("error", [ValueError("bug"), OSError(errno.EIO, "I/O error")])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    assert run_raising(error).exception is error


@pytest.mark.parametrize("arguments", [["comand"], ["command", "--foo"], ["command", "extra"]])
def test_a_wrong_command_line_is_one_line_too(arguments: list[str]) -> None:
    @click.group(cls=Edge)
    def group() -> None:
        pass

    @group.command()
    def command() -> None:
        pass

    answer = CliRunner().invoke(group, arguments)
    assert answer.exit_code == 2
    assert answer.stderr.count("\n") == 1
    assert "--help" in answer.stderr


def signalled_twice(number: signal.Signals, ended: list[bool]) -> None:
    with signals_end_this():
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)  # impatient: must not cut the ending short
            ended.append(True)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_unwinds_once_even_where_it_was_ignored(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    ended: list[bool] = []
    try:
        with pytest.raises(raised):
            signalled_twice(number, ended)
        assert ended
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_stops_a_command_is_told_what_was_kept(number: signal.Signals, code: int) -> None:
    @click.group(cls=Edge)
    def group() -> None:
        pass

    @group.command()
    def command() -> None:
        with signals_end_this(lambda: "Stopped. Kept: two stages."):
            os.kill(os.getpid(), number)

    answer = CliRunner().invoke(group, ["command"])
    assert answer.exit_code == code
    assert answer.stderr == "Stopped. Kept: two stages.\n"
