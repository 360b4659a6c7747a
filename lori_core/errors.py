"""What can go wrong, as a tree.

LoriError
├── BadInput            the user's mistake: one line (which value, what was expected, what to do), exit 2
│   ├── UnknownKey      a key no setting has; names the nearest one
│   ├── InvalidSparsity
│   ├── NotFound        a sequence, version or other named thing that is not there
│   ├── Unavailable     a store that cannot be reached, read or written as things are
│   ├── CapacityError   more entries asked for than are free
│   ├── NoRoom          the tasks of a sequence file need more entries than there are
│   ├── RowRefused      a row that cannot be used; holds a line without its words too
│   ├── UnknownLayers   `target_modules` that match nothing
│   └── SequenceChanged a learned part of a sequence is no longer what it was
│       └── RowsChanged it is a task's rows
├── CheckFailed         a check said no (verify, gate): exit 1
│   └── DigestMismatch  stored bits are not the bits that were certified
├── RankLost            another of several training processes is gone
├── RanksDiffer         training processes that must hold the same bits do not (our own bug)
└── MaskMismatch        a mask whose shape is not the shape of the B it should gate (our own bug)

Every class takes plain data and builds its sentence in `__str__`, so it survives pickling between
processes. Anything else that escapes is a bug of ours and keeps its traceback.
"""

import math
import reprlib
from collections.abc import Sequence


def shown(value: object) -> str:
    """A value as a message shows it: as YAML and JSON have it, on one line, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return reprlib.repr(value)


class LoriError(Exception):
    """Everything this project raises on purpose."""


class BadInput(LoriError, ValueError):
    """A value the user gave that cannot be used: which one, what was expected, what to do."""

    def __init__(self, what: str, expected: str, remedy: str = "") -> None:
        super().__init__(what, expected, remedy)
        self.what, self.expected, self.remedy = what, expected, remedy

    def __str__(self) -> str:
        """One line, whatever the parts contain."""
        sentence = f"{self.what}: expected {self.expected}."
        return " ".join(f"{sentence} {self.remedy}".split())


class NotFound(BadInput):
    """Something that is named well but does not exist."""


class Unavailable(BadInput):
    """A place or server that cannot be reached, read or written as things are."""


class RowRefused(BadInput):
    """A row that cannot be used. Its line quotes the row, for who holds the file."""

    def __init__(self, what: str, expected: str, remedy: str, outside: str) -> None:
        """`outside`: the line for everybody else: place and kind, no word of a row."""
        super().__init__(what, expected, remedy)
        self.args = (what, expected, remedy, outside)
        self.outside = outside

    def within(self, place: str) -> "RowRefused":
        """The same, with a place before it."""
        outside = f"{place}: {self.outside}"
        return RowRefused(f"{place}: {self.what}", self.expected, self.remedy, outside)


class UnknownKey(BadInput):
    """A key that no setting has."""

    def __init__(self, where: str, key: str, nearest: str | None, known: Sequence[str]) -> None:
        known = tuple(known)
        remedy = f"Did you mean `{nearest}`?" if nearest else "Remove it."
        super().__init__(f"{where}: unknown key `{key}`", f"one of {', '.join(known)}", remedy)
        self.args = (where, key, nearest, known)
        self.key, self.nearest = key, nearest


class InvalidSparsity(BadInput):
    """A sparsity outside [0, 1)."""

    def __init__(self, sparsity: float, where: str = "sparsity") -> None:
        super().__init__(
            f"{where} {sparsity}",
            "a share of entries left unmarked, at least 0 and below 1",
            "0.9 trains one entry in ten.",
        )
        self.args = (sparsity, where)
        self.sparsity = sparsity


class CapacityError(BadInput):
    """More entries of B are asked for than are free."""

    def __init__(self, where: str, needed: int, free: int, remedy: str = "") -> None:
        super().__init__(
            f"{where}: {needed} entries of B are needed and {free} are free",
            "no more than are free",
            remedy or "Raise `sparsity` or `tasks_planned`, raise `r`, or start a new sequence.",
        )
        self.args = (where, needed, free, remedy)
        self.needed, self.free = needed, free


class NoRoom(BadInput):
    """The tasks of a sequence file together need more entries of B than there are."""

    def __init__(
        self, where: str, sequence: str, task: str, place: str, free: float, fixed: bool = False
    ) -> None:
        """Say what can be done about it.

        Args:
            where: what messages call the file.
            sequence: its name.
            task: the first that does not fit.
            place: the task's place and the sum it brings, in words.
            free: share of all entries that the tasks before it leave.
            fixed: something of the sequence is learned or waits, so that its adapter settings stay.
        """
        super().__init__(
            f"{where}: the tasks need more entries of B than there are ({place})",
            "a sum of at most 1 under `protection: disjoint`",
            _for_fixed(sequence, task, free)
            if fixed
            else "Raise `sparsity` or `tasks_planned`, or start a new sequence.",
        )
        self.args = (where, sequence, task, place, free, fixed)
        self.sequence = sequence

    def told(self, *, where: str | None = None, fixed: bool) -> "NoRoom":
        """The same, of another file, or of a sequence whose adapter settings stay."""
        was, sequence, task, place, free, _ = self.args
        return NoRoom(was if where is None else where, sequence, task, place, free, fixed)


def _for_fixed(sequence: str, task: str, free: float) -> str:
    kept = f"{sequence!r} keeps its `tasks_planned`, and each task its entries, retired or not"
    least = math.ceil(round((1.0 - free) * 10_000, 6)) / 10_000  # 0.9, not 0.9001
    if least >= 1.0:
        return f"{kept}, and none is left: begin a new sequence."
    return f"{kept}: give {task!r} a `sparsity` of its own, {least:g} at least, or begin a new sequence."


class UnknownLayers(BadInput):
    """Names in `target_modules` that match no linear layer of the base."""

    def __init__(self, names: Sequence[str], known: Sequence[str]) -> None:
        names, known = tuple(names), tuple(known)
        super().__init__(
            f"target_modules: {', '.join(names)} match no linear layer of the base",
            f"some of {', '.join(known)}",
            "Or say `all-linear`.",
        )
        self.args = (names, known)
        self.names = names


class SequenceChanged(BadInput):
    """A learned part of a sequence (base, adapter settings, a task or its data) was changed."""

    def __init__(self, sequence: str, part: str, was: str, now: str) -> None:
        super().__init__(
            f"sequence {sequence!r}: {part} is {now} but was learned as {was}",
            "learned parts to stay as they are (tasks may only be appended)",
            "Put it back, or give the sequence a new name.",
        )
        self.args = (sequence, part, was, now)
        self.part = part


class RowsChanged(SequenceChanged):
    """The rows of a learned task are others now."""

    def __init__(
        self,
        sequence: str,
        task: str,
        role: str,
        was: str | None,
        now: str | None,
        comparable: bool = True,
    ) -> None:
        """`comparable`: metric and test rows are the same, which the gate compares versions on."""
        super().__init__(sequence, f"task {task!r}, data.{role}", str(was), str(now))
        if was is None or now is None:
            here = "has none now" if now is None else "was learned without any"
            found = f"task {task!r} {here}"
        else:
            found = f"those of task {task!r} are not the ones it was learned with"
            found = f"{found} (digest {now[:8]}, learned with {was[:8]})"
        self.what = f"sequence {sequence!r}: {role} rows: {found}"
        self.expected = "the rows of a learned task to stay as they are"
        new = f"that says `supersedes: {task}`" if comparable else "under a name of its own"
        self.remedy = f"Restore them, or append a new task {new}."
        self.args = (sequence, task, role, was, now, comparable)
        self.task, self.role = task, role


class CheckFailed(LoriError):
    """A check said no: exit 1."""

    def __init__(self, check: str, finding: str) -> None:
        super().__init__(check, finding)
        self.check, self.finding = check, finding

    def __str__(self) -> str:
        """Name the check and what it found."""
        return f"{self.check}: {self.finding}"


class DigestMismatch(CheckFailed):
    """Stored bits are not the bits that were certified."""

    def __init__(self, what: str, expected: str, found: str) -> None:
        super().__init__(what, f"digest is {found[:16]} but {expected[:16]} was certified")
        self.args = (what, expected, found)


class RankLost(LoriError):
    """Another of the processes that train together is gone: killed, or failed by itself."""

    def __init__(self, account: str) -> None:
        super().__init__(account)
        self.account = account

    def __str__(self) -> str:
        """What the connection said."""
        return f"another training process of this task is gone ({self.account})"


class RanksDiffer(LoriError):
    """Training processes that must hold the same bits do not."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        """Name what differs."""
        return f"the training processes of this task differ in {self.what}"


class MaskMismatch(LoriError, ValueError):
    """A mask whose shape is not the shape of the B it should gate."""

    def __init__(self, layer: str, mask: tuple[int, ...], weight: tuple[int, ...]) -> None:
        super().__init__(layer, mask, weight)
        self.layer, self.mask, self.weight = layer, mask, weight

    def __str__(self) -> str:
        """Name the layer and both shapes."""
        return f"layer {self.layer!r}: mask is {self.mask} but B is {self.weight}"


def without_rows(error: BadInput | CheckFailed) -> str:
    """The line of an error that anybody may read: no word of a row."""
    return error.outside if isinstance(error, RowRefused) else str(error)
