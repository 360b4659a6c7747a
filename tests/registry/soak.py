"""The registry's large sizes: `python -m tests.registry.soak`, or one of its parts by name.

    filing-sqlite, filing-postgresql    processes that register at once (acceptance 1)
    race-sqlite, race-postgresql        processes that promote at once (3)
    kills, kills-proxy                  kill -9 at each step, behind a real MLflow server (2)
    outage                              a restart of the database, a full and a read-only disk (7)

Each part that passed is a line of the log, with its size and the commit; a part whose line is there
is not run again. A run that was broken off goes on with the next part.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from registry.settings import switch_telemetry_off
from tests.registry.servers import (
    PostgreSQL,
    lying_proxy,
    mlflow_server,
    mlflow_url,
    postgresql,
)
from tests.registry.soak_filing import register_at_once
from tests.registry.soak_kills import survive_kills
from tests.registry.soak_outage import full_disk, read_only, restart_amid
from tests.registry.soak_race import promote_at_once

ROOT = Path(__file__).parents[2]
LOG = ROOT / "docs" / "soak.md"
HEADING = """| part | size | commit | date | seconds | measured |
| --- | --- | --- | --- | --- | --- |
"""

Sizes = Mapping[str, int]
SIZES = ("processes", "each", "contenders", "kills", "registrations")


@contextmanager
def stores(**urls: str) -> Iterator[None]:
    """The stores of this process and its children."""
    before = {name: os.environ.get(name) for name in ("LORI_REGISTRY_URL", "MLFLOW_TRACKING_URI")}
    for name in before:
        os.environ.pop(name, None)
    os.environ.update(urls)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def on_postgresql(folder: Path) -> Iterator[PostgreSQL]:
    """Our rows and MLflow's in two databases of one server."""
    with postgresql(folder) as server:
        theirs = mlflow_url(server.database())
        with stores(LORI_REGISTRY_URL=server.database(), MLFLOW_TRACKING_URI=theirs):
            yield server


def filing_sqlite(folder: Path, sizes: Sizes) -> str:
    """Many processes, SQLite for our rows and MLflow's."""
    with stores():
        return register_at_once(folder, sizes["processes"], sizes["each"])


def filing_postgresql(folder: Path, sizes: Sizes) -> str:
    """Many processes, PostgreSQL for our rows and MLflow's."""
    with on_postgresql(folder):
        return register_at_once(folder, sizes["processes"], sizes["each"])


def race_sqlite(folder: Path, sizes: Sizes) -> str:
    """Many processes promote at once, SQLite for our rows and MLflow's."""
    with stores():
        return promote_at_once(folder / ".lori", folder / "learned", sizes["contenders"])


def race_postgresql(folder: Path, sizes: Sizes) -> str:
    """Many processes promote at once, PostgreSQL for our rows and MLflow's."""
    with on_postgresql(folder):
        return promote_at_once(folder / ".lori", folder / "learned", sizes["contenders"])


def kills(folder: Path, sizes: Sizes) -> str:
    """Kills at each step, MLflow by its server, everything on PostgreSQL."""
    with (
        behind_a_server(folder) as (ours, url),
        stores(LORI_REGISTRY_URL=ours, MLFLOW_TRACKING_URI=url),
    ):
        return survive_kills(folder, sizes["kills"])


def kills_proxy(folder: Path, sizes: Sizes) -> str:
    """One kill at each step, behind a proxy that answers 503 after the commit."""
    with (
        behind_a_server(folder) as (ours, url),
        lying_proxy(url) as proxy,
        stores(LORI_REGISTRY_URL=ours, MLFLOW_TRACKING_URI=proxy.url),
    ):
        return survive_kills(folder, 1, proxy)


def outage(folder: Path, sizes: Sizes) -> str:
    """A restart amid registrations, a full disk, a read-only home."""
    with on_postgresql(folder / "server") as server:
        said = restart_amid(folder / "restart", server, sizes["registrations"])
    with stores():
        refusals = [full_disk(folder / "full")]
        if os.getuid() == 0:
            refusals.append(read_only(folder / "read-only"))
    return f"{said}; a full disk and a read-only home: {len(refusals)} refusals of one line each"


@contextmanager
def behind_a_server(folder: Path) -> Iterator[tuple[str, str]]:
    """The URL of our own store, and of an MLflow server, both on one PostgreSQL."""
    with (
        postgresql(folder) as server,
        mlflow_server(mlflow_url(server.database()), folder / "artifacts") as url,
    ):
        yield server.database(), url


PARTS: Mapping[str, tuple[Callable[[Path, Sizes], str], tuple[str, ...]]] = {
    "filing-sqlite": (filing_sqlite, ("processes", "each")),
    "filing-postgresql": (filing_postgresql, ("processes", "each")),
    "race-sqlite": (race_sqlite, ("contenders",)),
    "race-postgresql": (race_postgresql, ("contenders",)),
    "kills": (kills, ("kills",)),
    "kills-proxy": (kills_proxy, ()),
    "outage": (outage, ("registrations",)),
}


def run(part: str, sizes: Sizes, log: Path) -> None:
    """Run a part and log that it passed, unless the log says so already for this size and commit."""
    deed, shown = PARTS[part]
    size = ", ".join(f"{name} {sizes[name]}" for name in shown) or "1 kill a step"
    begun = f"| {part} | {size} | {_commit()} |"
    if log.exists() and begun in log.read_text("utf-8"):
        sys.stdout.write(f"{part}: passed before\n")
        return
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lori-soak-") as folder:
        Path(folder).chmod(
            0o755
        )  # another user reads it: PostgreSQL's, and the one who may not write
        measured = deed(Path(folder), sizes)
    log_part(part, size, time.monotonic() - started, measured, log)


def log_part(part: str, size: str, seconds: float, measured: str, log: Path) -> None:
    """Log that a part passed at a size on this commit."""
    if not log.exists():  # docs/soak.md is there, with its explanation; another log begins here
        log.write_text(HEADING, "utf-8")
    with log.open("a", encoding="utf-8") as file:
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        file.write(f"| {part} | {size} | {_commit()} | {today} | {seconds:.0f} | {measured} |\n")
    sys.stdout.write(f"{part}: {measured} ({seconds:.0f} s)\n")


def _commit() -> str:
    """The commit, and whether the tree is another than the commit's (the log itself aside)."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/soak.md")
    return f"{head or 'no commit'}{'+changes' if changed else ''}"


def _git(*told: str) -> str:
    done = subprocess.run(["git", *told], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main() -> None:
    switch_telemetry_off()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART")
    parser.add_argument("--processes", type=int, default=12)
    parser.add_argument("--each", type=int, default=25)
    parser.add_argument("--contenders", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--registrations", type=int, default=100)
    parser.add_argument("--log", type=Path, default=LOG)
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"unknown part {unknown[0]}; one of {', '.join(PARTS)}")
    sizes = {name: getattr(given, name) for name in SIZES}
    for part in given.parts:
        run(part, sizes, given.log)


if __name__ == "__main__":
    main()
