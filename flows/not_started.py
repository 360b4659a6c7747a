"""A service that did not become healthy, and what its log says of it."""

from pathlib import Path

from lori_core.errors import LoriError


class ServiceNotStarted(LoriError):
    """A service did not become healthy; its log says why."""

    def __init__(self, name: str, log: str, last: str) -> None:
        super().__init__(name, log, last)
        self.name, self.log, self.last = name, log, last

    def __str__(self) -> str:
        """Name the log and its last line."""
        return f"{self.name} did not start ({self.last or 'no output'}); see {self.log}"


def last_words(log: Path) -> str:
    """The last line of a log that says anything."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
