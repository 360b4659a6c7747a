"""Passwords that cost nothing: what is tested is not how long a guess takes."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from argon2 import PasswordHasher

from registry import passwords


@contextmanager
def quick_passwords() -> Iterator[None]:
    """The same algorithm with less memory, while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        )
        passwords._nobodys.cache_clear()
        yield
    passwords._nobodys.cache_clear()
