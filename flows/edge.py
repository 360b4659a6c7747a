"""The edge of the program: errors become one line and an exit code, signals end what we started.

Exit 0 done, 1 a check said no, 2 bad input: stderr then holds that message and nothing else.
130 and 143 after SIGINT and SIGTERM, with a line that says what was kept. Anything else is a bug of ours and keeps its traceback.
"""

import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, NoReturn

import click

from lori_core.errors import BadInput, CheckFailed
from registry.home import unwritable

NO_ROOM = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENOTDIR, errno.EACCES, errno.EPERM}
)


STOPPED = "Stopped."
ENDING = (signal.SIGINT, signal.SIGTERM)
REMINDER = signal.SIGUSR1
SAFE_PATH = "PYTHONSAFEPATH"

AGAIN_SECONDS = 0.5
"""Between two raises of a stop that is held up: every level of Prefect holds it up once."""


class Interrupted(KeyboardInterrupt):
    """SIGINT arrived where signals end what we started."""

    said = STOPPED
    """What the user is told."""


class Terminated(SystemExit):
    """SIGTERM arrived."""

    said = STOPPED
    """What the user is told."""


class Edge(click.Group):
    """A group of commands whose errors are told as the module says."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they are used, not the alphabet's."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn our errors into a line and an exit code."""
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as flows.stage_process says
        ctx.with_resource(no_imports_from_here())
        warnings.filterwarnings("ignore", category=FutureWarning)  # the libraries' own affairs
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            refuse(f"{error.format_message()} See `{_help_of(error.ctx or ctx)}`.", 2)
        except BadInput as error:
            refuse(str(error), 2)
        except CheckFailed as error:
            refuse(str(error), 1)
        except Terminated as stop:
            refuse(stop.said, 128 + signal.SIGTERM)
        except Interrupted as stop:
            refuse(stop.said, 128 + signal.SIGINT)
        except KeyboardInterrupt:
            refuse(STOPPED, 128 + signal.SIGINT)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            refuse(str(unwritable(error.filename or "a file", error.strerror or "")), 2)


@contextmanager
def no_imports_from_here() -> Iterator[None]:
    """What is started meanwhile is `python -m flows...`: a folder `flows` where the user stands is not ours."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


def refuse(message: str, code: int) -> NoReturn:
    """Say one line on stderr and leave."""
    click.echo(" ".join(message.split()), err=True)
    sys.exit(code)


class Stops:
    """The signal that ends a block, once it came."""

    def __init__(self) -> None:
        self.received: Interrupted | Terminated | None = None
        self._came = threading.Event()

    def leave(self, number: int, _frame: FrameType | None) -> None:
        """Handle SIGINT or SIGTERM: once, then deaf to both."""
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not cut the ending short
        stop = Interrupted() if number == signal.SIGINT else Terminated(128 + signal.SIGTERM)
        self.received = stop
        self._came.set()
        raise stop

    @contextmanager
    def passing_within(self, seconds: float) -> Iterator[None]:
        """A stop that is held up in this block is raised again and again, until the block is left.

        Prefect's client tells its server of every ending, and asks a dead one for minutes. (Prefect
        has the alarm clock of this process, so a thread of ours keeps the time.) Main thread only.
        """
        left = threading.Event()
        me = threading.get_ident()

        def remind() -> None:
            self._came.wait()
            wait = seconds
            while not left.wait(wait):
                signal.pthread_kill(me, REMINDER)
                wait = AGAIN_SECONDS

        def again(_number: int, _frame: FrameType | None) -> None:
            if not left.is_set():
                assert self.received is not None
                raise self.received

        before = signal.signal(REMINDER, again)
        reminding = threading.Thread(target=remind, name="reminding", daemon=True)
        reminding.start()
        try:
            yield
        finally:
            left.set()
            self._came.set()
            reminding.join()
            signal.signal(REMINDER, before)


@contextmanager
def signals_end_this(kept: Callable[[], str] = lambda: STOPPED) -> Iterator[Stops]:
    """SIGINT and SIGTERM unwind the block, so that everything it started is ended; once.

    Handlers are set even where a shell started us with SIGINT ignored. Whatever leaves the block
    after a signal is that stop: what a library says of it while it unwinds is no failure.

    Args:
        kept: asked once the block is left: the sentence that says what stays and how to go on.
    """
    before = {number: signal.getsignal(number) for number in ENDING}
    stops = Stops()
    token = _listening.set(stops)
    take_signals_back()
    try:
        yield stops
    except BaseException as error:
        if stops.received is None:
            raise
        stops.received.said = kept()
        if error is stops.received:
            raise
        raise stops.received from error
    finally:
        _listening.reset(token)
        for number, handler in before.items():
            signal.signal(number, handler)


def take_signals_back() -> None:
    """Have SIGINT and SIGTERM end the block again that `signals_end_this` holds, if there is one.

    Prefect's engine takes SIGTERM for itself whenever a flow begins, and turns it into a crash.
    """
    stops = _listening.get()
    if stops is not None and stops.received is None:
        for number in ENDING:
            signal.signal(number, stops.leave)


_listening: ContextVar[Stops | None] = ContextVar("listening", default=None)


def _help_of(ctx: click.Context) -> str:
    return f"{ctx.command_path} --help"
