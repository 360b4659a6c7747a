"""Several processes that train one phase together: each takes a part of every batch.

The batches and their row order are those of one process. A process computes the gradient of its own
rows, already divided by the learned tokens of the whole batch; the sum over all processes is then
the gradient one process would have had, to rounding. Everything else (clip, optimiser, schedule) is
done by every process alike, so they stay equal to the bit; `agree` makes sure of it. The first
process alone writes checkpoints, and decides when.

    gloo   on CPUs, and for the words between the processes
    nccl   for gradients on GPUs, one process for each

For one number of processes on one kind of machine the bits are the same every time. For another
number they differ in the last places.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor, nn

from lori_core.errors import LoriError, RankLost, RanksDiffer
from lori_core.phase import Device

PATIENCE = timedelta(days=365)
"""How long a process waits for the others. A dead one is noticed at once, by its closed connection."""

_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
"""Variables of torchrun by which transformers and accelerate would start sharing work themselves."""


class FirstLeft(LoriError):
    """The first process left the phase at a checkpoint; the others leave with it."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that train together, as one of them sees them. One alone is the usual case."""

    number: int = 0
    """Of this process, from 0."""

    count: int = 1
    """How many there are."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, reports and decides."""
        return self.number == 0

    @property
    def alone(self) -> bool:
        """Whether there is nobody to talk to."""
        return self.count == 1

    def part(self, rows: Sequence[object]) -> slice:
        """Which of the rows of a batch are this process's; parts differ by one row at most."""
        return slice(
            len(rows) * self.number // self.count, len(rows) * (self.number + 1) // self.count
        )

    @torch.no_grad()
    def add_up(self, parameters: Sequence[nn.Parameter], loss: Tensor, wish: bool) -> bool:
        """Replace every gradient, and the loss, by its sum over all processes: one message.

        Args:
            parameters: those that are trained, in the same order everywhere.
            loss: this process's share of the loss; a scalar, written in place.
            wish: something the first process wants to do after this step; of the others ignored.

        Returns what the first process wished. Nothing changes where there is one process alone.

        Raises:
            RankLost: another process is gone.
        """
        if self.alone:
            return wish
        wished = torch.full_like(loss, float(wish and self.first), dtype=torch.float32)
        parts = [_gradient(each).reshape(-1) for each in parameters]
        flat = torch.cat([*parts, loss.float().reshape(1), wished.reshape(1)])
        with _told_as_lost():
            torch.distributed.all_reduce(flat)
        start = 0
        for parameter in parameters:
            gradient = _gradient(parameter)
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()
        loss.copy_(flat[-2])
        return bool(flat[-1] > 0)

    def agree(self, what: str, *parts: bytes) -> None:
        """Make sure that every process holds the same bytes.

        Raises:
            RanksDiffer: they do not.
            RankLost: another process is gone.
        """
        if self.alone:
            return
        digest = hashlib.sha256()
        for each in parts:
            digest.update(hashlib.sha256(each).digest())
        mine = torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
        theirs = [torch.empty_like(mine) for _ in range(self.count)]
        with _told_as_lost():
            torch.distributed.all_gather(theirs, mine)
        if not all(torch.equal(each, mine) for each in theirs):
            raise RanksDiffer(what)

    def numbers(self, mine: int) -> tuple[int, ...]:
        """One whole number of every process, in their order."""
        if self.alone:
            return (mine,)
        value = torch.tensor([mine])
        values = [torch.empty_like(value) for _ in range(self.count)]
        with _told_as_lost():
            torch.distributed.all_gather(values, value)
        return tuple(int(each) for each in values)

    def tell(self, message: bytes) -> None:
        """Send a message from the first process to the others, which `hear` it."""
        self._exchange(torch.tensor([len(message)]))
        if message:
            self._exchange(torch.frombuffer(bytearray(message), dtype=torch.uint8))

    def hear(self) -> bytes:
        """The next message of the first process."""
        size = int(self._exchange(torch.zeros(1, dtype=torch.int64)))
        if not size:
            return b""
        return bytes(self._exchange(torch.zeros(size, dtype=torch.uint8)).tolist())

    def lead(self, act: Callable[[], None], *, may_leave: bool) -> None:
        """Let the first process act; where it `may_leave` by raising, the others leave with it.

        Raises:
            FirstLeft: in the others, when the first left.
        """
        if self.alone:
            act()
        elif self.first:
            stays = False
            try:
                act()
                stays = True
            finally:
                if may_leave:
                    self.tell(b"stay" if stays else b"")
        elif may_leave and not self.hear():
            raise FirstLeft

    def _exchange(self, tensor: Tensor) -> Tensor:
        if not self.alone:
            with _told_as_lost():
                torch.distributed.broadcast(tensor, src=0)
        return tensor


ALONE = Ranks()
"""One process."""


_met = [ALONE]


def joined() -> Ranks:
    """The processes this one met by `join`; itself alone where it met none."""
    return _met[-1]


def join(device: Device) -> Ranks:
    """Meet the other processes that the launcher (torchrun) started; call it once, before any model.

    Afterwards libraries no longer see the launcher: each process loads and computes as if alone.
    """
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    torch.distributed.init_process_group(backend, timeout=PATIENCE)
    ranks = Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    for name in _LAUNCHER:
        os.environ.pop(name, None)
    _met.append(ranks)
    return ranks


def _gradient(parameter: nn.Parameter) -> Tensor:
    """A parameter's gradient; zero where this process had no rows for it."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


@contextmanager
def _told_as_lost() -> Iterator[None]:
    """A closed connection, as what it means. torch has no error of its own for it."""
    try:
        yield
    except torch.OutOfMemoryError:  # is one too, and has advice of its own
        raise
    except RuntimeError as error:
        raise RankLost(str(error).splitlines()[0]) from error
