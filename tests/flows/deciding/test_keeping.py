"""A registry that is kept from the command line: mended, thinned out, told of and reached from elsewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from flows.cli import lori
from registry.accounts import owner
from registry.aliases import AliasStore
from registry.desk import Desk
from registry.store import open_registry
from tests.flows.conftest import ROOT
from tests.flows.deciding.deciding_cases import Say, done, serves, told
from tests.flows.filed import NAME


def test_doctor_finds_and_mends_an_alias_that_was_moved_by_hand(say: Say, home: Path) -> None:
    done(say("promote", f"{NAME}/1", "--reason", "first"))
    assert "nothing is wrong" in done(say("doctor")).stdout
    with open_registry(home) as registry:
        store: AliasStore = registry.aliases()
        moved = registry.version(NAME, 3).model_version
        assert moved is not None
        store.set_alias(registry.model_name(NAME), "champion", moved)
    found = say("doctor", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["findings"][0]["what"] == "alias-drift"
    assert "mended" in done(say("doctor", "--repair")).stdout
    done(say("doctor"))


def test_a_version_that_nothing_needs_is_deleted_and_the_log_says_so(say: Say, home: Path) -> None:
    refused = say("delete", f"{NAME}/2", "--reason", "a mistake")
    assert refused.exit_code == 1
    assert "version 3 was trained on it" in refused.stderr
    done(say("promote", f"{NAME}/2", "--reason", "better"))
    assert "is deleted" in done(say("delete", f"{NAME}/3", "--reason", "unsafe")).stdout
    assert [row["version"] for row in told(say("versions", NAME, "--json"))] == [1, 2]
    served = say("delete", f"{NAME}/2", "--reason", "a mistake")
    assert served.exit_code == 1
    assert "it served" in served.stderr
    with open_registry(home) as registry:
        last = Desk(registry, owner()).log(NAME)[-1]
    assert (last.kind, last.payload["version"], last.payload["reason"]) == ("deleted", 3, "unsafe")
    assert "unbroken" in done(say("history", NAME, "--check")).stdout
    assert "nothing is wrong" in done(say("doctor")).stdout


def test_the_readme_shows_what_the_commands_print(say: Say) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    promoted = done(say("promote", f"{NAME}/2", "--reason", "better")).stdout.splitlines()[0]
    assert f"{promoted.partition(' by ')[0]} by os:anna" in readme
    refused = say("promote", f"{NAME}/3", "--reason", "newest").stderr
    assert refused in readme
    nowhere = say("rollback", NAME, "--reason", "complaints")
    assert "`--base` serves the bare base" in nowhere.stderr, "as the readme says of the first one"


def test_webhooks_are_told_until_they_answer(say: Say) -> None:
    done(say("webhooks", "add", "chat", "http://127.0.0.1:9/hook"))
    done(say("promote", f"{NAME}/1", "--reason", "first"))
    listed = json.loads(done(say("webhooks", "list", "--json")).stdout)
    assert [each["name"] for each in listed["webhooks"]] == ["chat"]
    assert listed["waiting"]
    assert say("webhooks", "deliver").exit_code == 1
    done(say("webhooks", "remove", "chat"))
    assert "0 delivered, 0 to be sent again" in done(say("webhooks", "deliver")).stdout


def test_a_server_answers_and_decides_for_commands_elsewhere(say: Say, home: Path) -> None:
    secret = done(say("accounts", "first", "anna")).stdout.strip()
    server = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "dashboard", "--port", "0"],
        env={**os.environ, "LORI_HOME": str(home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[1]
        away = {"LORI_REGISTRY_URL": url, "LORI_HOME": str(home.parent / "nowhere")}

        def ask(*arguments: str, token: str | None = secret) -> Result:
            return CliRunner().invoke(lori, list(arguments), env={**away, "LORI_TOKEN": token})

        assert ask("status", token=None).exit_code == 2
        wrong = ask("status", token="lori_" + "x" * 43)
        assert (wrong.exit_code, wrong.stderr.count("expected")) == (2, 1), wrong.stderr
        assert f"token ({url} does not take it: unknown)" in wrong.stderr
        promoted = done(ask("promote", f"{NAME}/2", "--reason", "from afar"))
        assert "assistant@champion is assistant/2" in promoted.stdout
        assert f"registry {url}" in promoted.stderr
        assert told(ask("history", NAME, "--json"))[0]["requested_by"] == "anna"
        (row,) = told(ask("versions", f"{NAME}@champion", "--json"))
        assert (row["version"], "gate" in row) == (2, False)
        assert done(ask("matrix", f"{NAME}@champion")).stdout
        for here_alone in (("verify", NAME), ("doctor",), ("webhooks", "deliver")):  # needs files
            assert ask(*here_alone).exit_code == 2
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0
    assert serves(say) == 2


def test_readers_make_no_registry_where_there_is_none(say: Say, home: Path) -> None:
    empty = home.parent / "empty"
    empty.mkdir()
    answer = CliRunner().invoke(lori, ["status"], env={"LORI_HOME": str(empty)})
    assert answer.exit_code == 2
    assert list(empty.iterdir()) == []
