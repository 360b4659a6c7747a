"""The edge of the program: errors become one line and an exit code, signals end what we started.

Exit 0 done, 1 a check said no, 2 bad input: stderr then holds that message and nothing else.
130 and 143 after SIGINT and SIGTERM, with a line that says what was kept. Anything else is a bug of ours and keeps its traceback.
"""

import errno
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from lori_core.errors import BadInput, CheckFailed
from registry.home import unwritable

NO_ROOM = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENOTDIR, errno.EACCES, errno.EPERM}
)


STOPPED = "Stopped."


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


def refuse(message: str, code: int) -> NoReturn:
    """Say one line on stderr and leave."""
    click.echo(" ".join(message.split()), err=True)
    sys.exit(code)


@contextmanager
def signals_end_this(kept: Callable[[], str] = lambda: STOPPED) -> Iterator[None]:
    """SIGINT and SIGTERM unwind the block, so that everything it started is ended; once.

    Handlers are set even where a shell started us with SIGINT ignored.

    Args:
        kept: asked once the block is left: the sentence that says what stays and how to go on.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def leave(number: int, _frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not cut the ending short
        if number == signal.SIGINT:
            raise Interrupted
        raise Terminated(128 + signal.SIGTERM)

    for number in before:
        signal.signal(number, leave)
    try:
        yield
    except (Interrupted, Terminated) as stop:
        stop.said = kept()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _help_of(ctx: click.Context) -> str:
    return f"{ctx.command_path} --help"
