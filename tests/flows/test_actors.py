"""Who may learn and adopt: asked before anything is done."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import lori
from flows.recorded import Named, recorded
from registry.accounts import TOKEN_VARIABLE, Accounts, owner
from registry.store import open_registry
from tests.flows.conftest import Lab
from tests.flows.filed import NAME, make_home
from tests.flows.test_adopt import a_lora
from tests.flows.tiny import rows, write_rows


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A home with an account of a reviewer, who may neither file nor adopt; his token."""
    home = tmp_path / "home"
    monkeypatch.setenv("LORI_HOME", str(home))
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with open_registry(home) as registry:
        book = Accounts(registry, owner())
        book.create("ben", "reviewer")
        return home, book.issue("ben", "test").secret


@pytest.mark.parametrize("known", [False, True], ids=["without a token", "as a reviewer"])
def test_learning_is_refused_before_it_begins(
    lab: Lab, guarded: tuple[Path, str], known: bool
) -> None:
    home, token = guarded
    before = sorted(home.rglob("*"))
    answer = CliRunner().invoke(
        lori, ["run", str(lab.file)], env={TOKEN_VARIABLE: token if known else None}
    )
    assert (answer.exit_code, answer.stderr.count("\n")) == (1, 1), answer.output
    assert ("ben is a reviewer; to file takes" if known else "set LORI_TOKEN") in answer.stderr
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("known", [False, True], ids=["without a token", "as a reviewer"])
def test_adopting_is_refused_before_it_begins(
    tmp_path: Path, guarded: tuple[Path, str], known: bool
) -> None:
    test = write_rows(tmp_path / "test.jsonl", rows("color", "test", 8))
    told = ["adopt", str(a_lora(tmp_path / "lora")), "--as", "team", "--base", "b", "--test", test]
    answer = CliRunner().invoke(
        lori, [str(each) for each in told], env={TOKEN_VARIABLE: guarded[1] if known else None}
    )
    assert (answer.exit_code, answer.stderr.count("\n")) == (1, 1), answer.output
    assert ("ben is a reviewer; to adopt takes" if known else "set LORI_TOKEN") in answer.stderr


def test_reading_takes_no_token_and_a_refused_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with open_registry(make_home(tmp_path / "home").absolute()) as registry:
        Accounts(registry, owner()).create("ada", "admin")
        assert recorded(registry, NAME).number(Named(NAME)) == 3
        monkeypatch.setenv(TOKEN_VARIABLE, "lori_of-nobody")
        with pytest.raises(ValueError, match="token"):
            recorded(registry, NAME).number(Named(NAME))
