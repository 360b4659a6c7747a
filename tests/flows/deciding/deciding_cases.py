"""What a command that decides answered, and who may give it."""

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from registry.accounts import Accounts, owner
from registry.store import open_registry
from tests.flows.filed import NAME

Say = Callable[..., Result]


def done(answer: Result) -> Result:
    assert answer.exit_code == 0, answer.output
    return answer


def told(answer: Result) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(done(answer).stdout)
    return found


def serves(say: Say, alias: str = "champion") -> object:
    return json.loads(done(say("status", NAME, "--json")).stdout)[0][alias]


def account(home: Path, name: str, role: str) -> str:
    """A token for a new account."""
    with open_registry(home) as registry:
        book = Accounts(registry, owner())
        book.create(name, role)  # type: ignore[arg-type]
        return book.issue(name, "test").secret
