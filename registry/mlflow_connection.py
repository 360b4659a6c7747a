"""The connection to MLflow's store or server, and its refusals in one line.

Import this only through `Registry`, which switches telemetry off first.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from lori_core.errors import Unavailable
from registry.home import file_lock, says_unwritable, unwritable, writable
from registry.moved_home import lock_of, repoint
from registry.settings import TRACKING_VARIABLE, Settings, without_password

for _noisy in ("mlflow", "alembic"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)

_UNANSWERED = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "RESOURCE_EXHAUSTED"}


def connect(settings: Settings) -> MlflowClient:
    """A client of the store the settings name; a fresh local store is made here.

    Raises:
        Unavailable: the store or server does not answer, or cannot be written.
    """
    with Told(settings)(), file_lock(lock_of(settings.home)):
        _make_local_store(settings.tracking_uri)
        _follow_home(settings)
        client = MlflowClient(settings.tracking_uri, settings.tracking_uri)
        client.search_experiments(max_results=1)  # makes and migrates the tables
    return client


def _make_local_store(uri: str) -> None:
    """Make a missing SQLite store beside its place, then move it there.

    SQLite does not roll MLflow's migrations back: a kill amid them would leave half a schema, which
    MLflow can neither use nor migrate.
    """
    place = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or place.exists():
        return
    fresh = place.with_name(f"{place.name}.new")
    fresh.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{fresh}", f"sqlite:///{fresh}").search_experiments(max_results=1)
    fresh.replace(place)


def _follow_home(settings: Settings) -> None:
    """Never read or write where the home was before."""
    try:
        repoint(settings)
    except sqlite3.Error as error:
        raise unwritable(settings.home / "mlflow.db", str(error)) from error


@contextmanager
def process_wide(uri: str) -> Iterator[None]:
    """MLflow looks a version's source up in the store of the process, whatever its client's is."""
    before = os.environ.get(TRACKING_VARIABLE)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # which also unsets the variable
        if before is not None:
            os.environ[TRACKING_VARIABLE] = before


@contextmanager
def already_there() -> Iterator[None]:
    """Let it pass that something to be created is there already."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


class Told:
    """Turns MLflow's failures to reach or write its store into one line."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Around every call that reaches MLflow."""
        try:
            with writable(self._settings.home):
                yield
        except MlflowException as error:
            if error.error_code not in _UNANSWERED:
                raise
            uri = self._settings.tracking_uri
            shown = without_password(uri)
            reason = " ".join(str(error).replace(uri, shown).split())[:300]
            if says_unwritable(reason):
                raise unwritable(shown, reason) from error
            raise Unavailable(
                f"MLflow at {shown} ({reason})",
                "a store or server that answers",
                "Check it, then run the same command again.",
            ) from error
