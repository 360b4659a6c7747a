"""What a run on a worker tells: plain lines into its log, and how far it is, for `lori status`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.progress import Narrator
from flows.stage_protocol import StageProgress


class Telling(Narrator):
    """A narrator that nobody watches: it keeps what it would have shown."""

    def __init__(self, log: Path) -> None:
        """Lines are appended to `log`."""
        super().__init__(quiet=True)
        self.log = log
        self._now: dict[str, Any] = {}
        log.parent.mkdir(parents=True, exist_ok=True)

    def progress_now(self) -> dict[str, Any]:
        """The stage, how much of it is done, and since when: plain data for the arrival's row.

        `{"stage", "done", "total", "text", "since"}`; empty before the first stage. `total` is 0
        while it is unknown.
        """
        return dict(self._now)

    def say(self, text: str) -> None:
        """One line that stays."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{_time()} {text}\n")

    def begin(self, stage: str) -> None:
        """A stage begins (`TASK: STAGE`)."""
        super().begin(stage)
        name = stage.rpartition(": ")[2]
        self._now = {"stage": name, "done": 0, "total": 0, "text": "", "since": _time()}

    def progress(self, progress: StageProgress) -> None:
        """How far the stage is."""
        self._now = {
            **self._now,
            "done": progress.done,
            "total": progress.total,
            "text": progress.text,
        }


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
