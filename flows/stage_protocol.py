"""What the run and its training child say to each other: one JSON object a line, both ways.

Down: `{"stage": NAME, "spec": PATH}`. Up: `ready`, then for every stage any number of `progress`
and one `done` (the result lies beside the spec), `refused` (the user's mistake, or a check that
said no) or `failed` (a bug of ours: its traceback). Names and paths cross, never tensors.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lori_core.errors import BadInput, CheckFailed, LoriError, RowRefused

SPEC = "spec.json"
RESULT = "result.json"

_LEFT = ("ended by signal 15", "with exit code 143")
"""How an account ends after SIGTERM, whether the child handled it or not."""

ENDED = "the training process "
"""How an account begins that is no traceback."""

_KINDS = {"row": RowRefused, "bad input": BadInput, "check failed": CheckFailed}

TRAINING = ("calibrate", "train")
"""The stages that several processes may share."""


@dataclass(frozen=True, slots=True)
class StageProgress:
    """How far a stage is."""

    stage: str

    done: int
    """Steps, rows or parts done."""

    total: int
    """How many there will be; 0 while unknown."""

    text: str = ""
    """What is being done, for a person."""


class StageCrashed(LoriError):
    """The training child failed in a way that is a bug of ours, or was killed from outside."""

    def __init__(self, stage: str, log: str, account: str) -> None:
        super().__init__(stage, log, account)
        self.stage, self.log, self.account = stage, log, account

    def __str__(self) -> str:
        """Say where it failed, and how."""
        return f"stage {self.stage!r} failed (log: {self.log})\n{self.account}"

    @property
    def last_line(self) -> str:
        """The last line of the account: of a traceback, the one that names the error."""
        lines = self.account.strip().splitlines()
        return lines[-1].strip() if lines else "no account"

    @property
    def kind(self) -> str:
        """What ended it, without what an exception says: that may hold words of rows."""
        if self.last_line.startswith(ENDED):
            return self.last_line
        name = self.last_line.partition(":")[0]
        return name if name.replace(".", "").isidentifier() else "an error of its own"

    @property
    def told_to_leave(self) -> bool:
        """Whether it was SIGTERM that ended the child: of what it looked at, that says nothing."""
        return self.account.endswith(_LEFT)


def line(message: Mapping[str, object]) -> bytes:
    """One message."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def refusal(error: BadInput | CheckFailed) -> dict[str, object]:
    """An error as plain data."""
    if isinstance(error, RowRefused):
        return {"event": "refused", "kind": "row", "parts": list(error.args)}
    if isinstance(error, BadInput):
        parts = [error.what, error.expected, error.remedy]
        return {"event": "refused", "kind": "bad input", "parts": parts}
    return {"event": "refused", "kind": "check failed", "parts": [error.check, error.finding]}


def raise_refusal(message: Mapping[str, Any]) -> None:
    """The same error again, on the other side."""
    raise _KINDS[message["kind"]](*message["parts"])


def read_result(folder: Path) -> dict[str, Any]:
    """The result of a finished stage."""
    result: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return result
