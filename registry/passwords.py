"""Passwords: argon2id, and the same time whether there is anything to compare with or not."""

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from lori_core.errors import BadInput, Unavailable

SHORTEST = 12
LONGEST = 256
WAIT_SECONDS = 2.0

_HASHER = PasswordHasher()  # RFC 9106, the profile of 64 MiB
_AT_ONCE = threading.BoundedSemaphore(2)  # each takes 64 MiB, and strangers ask for them


def check_password(password: str) -> None:
    """Return if this will do as a password.

    Raises:
        BadInput: it is too short or too long. Never holds the password.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadInput(
            f"password of {len(password)} characters",
            f"{SHORTEST} to {LONGEST}",
            "A few words that nobody says together will do.",
        )


def hashed(password: str) -> str:
    """What is kept of a password.

    Raises:
        BadInput: it is too short or too long.
        Unavailable: too many ask.
    """
    check_password(password)
    with _turn():
        return _HASHER.hash(_plain(password))


def matches(kept: str | None, password: str) -> bool:
    """Whether this is the password of which `kept` was kept; None takes as long, and is never it.

    Raises:
        Unavailable: too many ask.
    """
    if len(password) > LONGEST:
        return False
    with _turn():
        nobodys = _nobodys()
        try:
            right = _HASHER.verify(nobodys if kept is None else kept, _plain(password))
        except (VerificationError, InvalidHashError):
            return False
    return right and kept is not None


@contextmanager
def _turn() -> Iterator[None]:
    """A short wait, and then a refusal: who waits holds one of the threads that answer everybody."""
    if not _AT_ONCE.acquire(timeout=WAIT_SECONDS):
        raise Unavailable(
            "passwords: others are looked at", "a free turn", "Try again in a moment."
        )
    try:
        yield
    finally:
        _AT_ONCE.release()


@cache
def _nobodys() -> str:
    return _HASHER.hash("nobody's password")


def _plain(password: str) -> bytes:
    """One password, however a keyboard composes its letters."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
