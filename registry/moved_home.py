"""A home that was moved, copied or restored: MLflow's own store in it is made to point at it again.

MLflow keeps the place of every file as an absolute URI. In a home that lies elsewhere now, those lead
to the old place: what is read there may be gone or another's, and what is written harms it. The rows
of the home's own store that lie in the old home's `mlartifacts` are moved here, in one transaction;
nothing else in it is touched, and no store outside the home ever is.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from registry.home import file_lock
from registry.settings import Settings, sqlite_url

ARTIFACTS = "mlartifacts"

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Where MLflow's tables hold the place of files."""

_BUSY_SECONDS = 30


def lock_of(home: Path) -> Path:
    """What who makes or moves MLflow's store in a home locks."""
    return home / "mlflow.lock"


def follow(settings: Settings) -> None:
    """Make MLflow's store point at this home, if it points at another place; a look is a millisecond.

    A home that only can be read stays as it is: nothing of it is asked through MLflow.

    Raises:
        Unavailable: the home cannot be written.
    """
    try:
        if not _old_roots(settings):
            return
        with file_lock(lock_of(settings.home)):
            repoint(settings)
    except sqlite3.Error:  # no store of MLflow's, or none to be written: `connect` tells of it
        return


def repoint(settings: Settings) -> tuple[str, ...]:
    """Move the rows of the home's own store here; the places they were at. Hold `lock_of` meanwhile.

    Raises:
        sqlite3.Error: the store cannot be read or written.
    """
    old = _old_roots(settings)
    if not old:
        return ()
    here = f"{settings.home.as_uri()}/{ARTIFACTS}/"
    with closing(_open(settings, "rw")) as store:
        store.execute("BEGIN IMMEDIATE")
        for root in old:
            for table, column in PLACES:
                store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                    f" WHERE substr({column}, 1, ?) = ?",
                    (here, len(root) + 1, len(root), root),
                )
        store.commit()
    return old


def _old_roots(settings: Settings) -> tuple[str, ...]:
    """The places our experiments lie at that are not this home: each an `mlartifacts` elsewhere."""
    own = settings.home / "mlflow.db"
    if settings.tracking_uri != sqlite_url(own) or not own.is_file():
        return ()
    with closing(_open(settings, "ro")) as store:
        rows = store.execute("SELECT name, artifact_location FROM experiments").fetchall()
    prefix = settings.model_name.partition("{")[0]
    found = set()
    for name, location in rows:
        end = f"/{ARTIFACTS}/{quote(name)}"
        if not (name.startswith(prefix) and (location or "").startswith("file:///")):
            continue
        if location.endswith(end) and not _is_here(location.removesuffix(end), settings.home):
            found.add(location.removesuffix(quote(name)))
    return tuple(sorted(found))


def _is_here(home: str, here: Path) -> bool:
    """Whether a file URI is this home, by whatever path it is reached."""
    place = Path(unquote(urlsplit(home).path))
    return place == here or (place.exists() and place.samefile(here))


def _open(settings: Settings, mode: str) -> sqlite3.Connection:
    place = quote(str(settings.home / "mlflow.db"))
    return sqlite3.connect(
        f"file:{place}?mode={mode}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )
