"""RemoteDesk, the API, a real uvicorn process and the real registry, end to end."""

import inspect
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from decision_cases import learn
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts

from lori_core.errors import BadInput, CheckFailed, NotFound
from registry.accounts import TOKEN_VARIABLE, Accounts, TokenRefused, new_secret, owner
from registry.arrival_records import NewTask
from registry.arrivals import Arrivals
from registry.clock import now
from registry.decisions import Actor, Role
from registry.desk import Desk
from registry.desks import open_desk
from registry.queueing import Queue
from registry.remote import RemoteDesk
from registry.remote_queue import RemoteQueue
from registry.roles import ROLES
from registry.settings import REGISTRY_VARIABLE
from registry.store import Registry, open_registry
from registry.webhooks import Webhooks

ROOT = Path(__file__).parents[2]


@dataclass
class Running:
    url: str
    token: str | None
    process: subprocess.Popen[str]
    registry: Registry
    """The same home, opened by this process: the reference."""


def start(home: Path, store: Path, *, ignore_interrupts: bool = False) -> subprocess.Popen[str]:
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("serve_home.py")), str(home), str(store)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=ignore if ignore_interrupts else None,
    )


def said(process: subprocess.Popen[str], what: str) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(f"{what} "), (line, process.poll())
    return line.split()[1]


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("served")
    home, store = root / ".lori", root / "store"
    with open_registry(home, artifacts=FolderArtifacts(store), aliases=FakeAliases()) as registry:
        learn(registry, root / "one", 3)
        learn(registry, root / "two", 2, name="careful", promotion="approval")
    return home, store


@pytest.fixture(scope="module")
def accounts(filed: tuple[Path, Path]) -> dict[Role, str]:
    found: dict[Role, str] = {}
    with open_registry(filed[0]) as registry:
        book = Accounts(registry, owner())
        for role in ROLES:
            book.create(f"the-{role}", role)
            found[role] = book.issue(f"the-{role}", "test").secret
    return found


@pytest.fixture(scope="module")
def running(filed: tuple[Path, Path], accounts: dict[Role, str]) -> Iterator[Running]:
    process = start(*filed)
    url = said(process, "dashboard")
    with open_registry(
        filed[0], artifacts=FolderArtifacts(filed[1]), aliases=FakeAliases()
    ) as registry:
        yield Running(url, None, process, registry)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "ended\n", "")


@pytest.fixture
def at(running: Running, accounts: dict[Role, str]) -> Iterator[dict[Role, RemoteDesk]]:
    desks = {role: RemoteDesk(running.url, accounts[role]) for role in ROLES}
    yield desks
    for desk in desks.values():
        desk.__exit__(None, None, None)


@pytest.mark.parametrize("local", [Desk, Accounts, Webhooks])
def test_the_remote_desk_has_the_methods_of_the_local_one(local: type) -> None:
    for name, method in inspect.getmembers(local, inspect.isfunction):
        if name.startswith("_"):
            continue
        there = inspect.signature(getattr(RemoteDesk, name))
        here = inspect.signature(method)
        assert list(there.parameters) == list(here.parameters), name
        for parameter in there.parameters.values():
            same = here.parameters[parameter.name]
            assert (parameter.kind, parameter.default) == (same.kind, same.default), name


def test_every_reader_answers_what_the_registry_itself_answers(
    running: Running, at: dict[Role, RemoteDesk]
) -> None:
    here, there = running.registry, at["viewer"]
    assert there.sequences() == here.sequences() == ("assistant", "careful")
    for name in here.sequences():
        assert there.sequence(name) == here.sequence(name)
        assert there.tasks(name) == here.tasks(name)
        assert there.stages(name) == here.stages(name)
        assert there.cells(name) == here.cells(name)
        assert there.versions(name) == here.versions(name)
        assert there.version(name, 2) == here.version(name, 2)
        assert there.certificate(name, 2) == here.certificate(name, 2)
        assert there.matrix_cells(name, "inherited") == here.matrix_cells(name, "inherited")
    here.record_export("assistant", 1, "t01", "inherited", "a" * 64)
    assert there.exported("assistant", 1, "t01", "inherited") == ("a" * 64,)


def test_the_matrix_is_the_json_of_the_command(running: Running, accounts: dict[Role, str]) -> None:
    from dashboard.figures import matrix_json

    answer = httpx.get(
        f"{running.url}/api/sequences/assistant/matrix",
        params={"read": "inherited"},
        headers={"authorization": f"Bearer {accounts['viewer']}"},
    )
    assert answer.json() == matrix_json(running.registry.matrix_cells("assistant", "inherited"))
    assert set(answer.json()) == {"sequence", "read", "tasks", "rows", "summary", "terms"}


def test_a_promotion_from_afar_is_the_one_in_the_registry(
    running: Running, at: dict[Role, RemoteDesk]
) -> None:
    desk = Desk(running.registry, Actor(name="x", role="viewer", account=True))
    report = at["trainer"].gate("assistant", 1)
    assert (report.ok, report.id is not None) == (True, True)
    assert at["viewer"].gate("assistant", 1).id is None
    with pytest.raises(CheckFailed, match="role: the-trainer is a trainer; to promote takes"):
        at["trainer"].promote("assistant", 1, reason="mine")
    assert desk.champion("assistant") is None
    made = at["promoter"].promote("assistant", 1, reason="first", expect="none")
    assert (made.status, made.to_version, made.requested_by) == ("applied", 1, "the-promoter")
    with pytest.raises(CheckFailed, match="champion"):
        at["promoter"].promote("assistant", 2, reason="late", expect="none")
    at["promoter"].promote("assistant", 2, reason="second", expect=1)
    assert at["viewer"].champion("assistant") == desk.champion("assistant") == 2
    back = at["promoter"].rollback("assistant", reason="worse")
    assert (back.kind, back.to_version) == ("rollback", 1)
    assert at["viewer"].history("assistant") == desk.history("assistant")
    assert at["viewer"].history("assistant", last=1) == desk.history("assistant", last=1)
    assert at["viewer"].log("assistant") == desk.log("assistant")
    assert at["viewer"].stale("assistant") == desk.stale("assistant") != {}
    assert at["viewer"].check_history("assistant").ok
    then = now()
    assert at["viewer"].served("assistant", "champion", then) == desk.served(
        "assistant", "champion", then
    )
    assert at["viewer"].history("assistant", then - timedelta(days=1)) == ()


def test_the_requester_cannot_approve_and_a_reviewer_can(at: dict[Role, RemoteDesk]) -> None:
    asked = at["admin"].promote("careful", 1, reason="ready")
    assert asked.status == "requested"
    assert [each.id for each in at["viewer"].pending("careful")] == [asked.id]
    assert [each.id for each in at["viewer"].pending(None)] == [asked.id]
    with pytest.raises(CheckFailed):
        at["admin"].approve(asked.id, reason="my own")
    for role in ("viewer", "trainer", "promoter"):
        with pytest.raises(CheckFailed, match=r"^role: "):
            at[role].approve(asked.id, reason="not mine")  # type: ignore[index]
    assert at["viewer"].champion("careful") is None
    done = at["reviewer"].approve(asked.id, reason="read it")
    assert (done.status, done.approved_by) == ("applied", "the-reviewer")
    second = at["promoter"].promote("careful", 2, reason="ready")
    assert at["reviewer"].reject(second.id, reason="not now").status == "rejected"


def test_freezes_waivers_retirement_and_confirmations_go_both_ways(
    running: Running, at: dict[Role, RemoteDesk]
) -> None:
    until = now() + timedelta(hours=1)
    assert at["viewer"].frozen("careful") is None
    assert at["promoter"].freeze("careful", until, "holiday").until == until
    assert at["viewer"].frozen("careful") is not None
    with pytest.raises(CheckFailed):
        at["promoter"].promote("careful", 2, reason="now")
    at["promoter"].thaw("careful", "back")
    waiver = at["promoter"].waive("careful", 2, "learning:t02", "an exception", until)
    with pytest.raises(CheckFailed):
        at["promoter"].approve_waiver(waiver.id, "mine")
    approved = at["reviewer"].approve_waiver(waiver.id, "agreed")
    assert approved.approved_by == "the-reviewer"
    assert at["viewer"].waivers("careful") == (approved,)
    at["promoter"].retire("careful", "t02", "unused")
    assert list(at["viewer"].retired("careful")) == ["t02"]
    running.registry.record_export("careful", 1, "t01", "inherited", "b" * 64)
    told = at["trainer"].confirm("careful", 1, "t01", "inherited", "b" * 64, "gpu-1", now())
    assert told.matches
    assert at["viewer"].confirmations("careful") == (told,)


def test_the_queue_from_afar_is_the_one_in_the_registry(
    running: Running, accounts: dict[Role, str]
) -> None:
    here = Queue(running.registry, Actor(name="the-trainer", role="trainer", account=True))
    with (
        RemoteQueue(running.url, accounts["trainer"]) as there,
        RemoteQueue(running.url, accounts["viewer"]) as looking,
    ):
        sent = there.submit({"sequence": "x"}, source="command", folder="/in", priority=2)
        assert sent == here.submission(sent.id) == there.submission(sent.id)
        assert (sent.source, sent.submitted_by) == ("api", "the-trainer")
        assert there.submissions(1) == (sent,)
        task = NewTask(
            sequence="x",
            task="one",
            document={},
            content="0" * 64,
            data={"train": "a"},
            queue="cpu",
        )
        Arrivals(running.registry).accept(sent.id, [task], {})
        [arrival] = looking.arrivals("x", states=("waiting", "failed"), last=5)
        assert arrival == here.arrival(arrival.id) == looking.arrival(arrival.id)
        assert there.hold(arrival.id).held
        assert not there.release(arrival.id).held
        assert there.hold_sequence("x", "lunch") == here.held_sequences()[0]
        assert looking.held_sequences() == here.held_sequences()
        there.release_sequence("x")
        assert there.cancel(arrival.id).state == "cancelled"
        assert there.retry(arrival.id).state == "waiting"
        assert looking.blocked() == {}
        for ask in (lambda at: at.arrival(99), lambda at: at.retry(arrival.id)):
            with pytest.raises(BadInput) as at_home:
                ask(here)
            with pytest.raises(BadInput) as afar:
                ask(there)
            assert str(afar.value) == str(at_home.value)
        with pytest.raises(CheckFailed, match="to cancel takes"):
            looking.cancel(arrival.id)


def test_accounts_and_webhooks_are_kept_from_afar(at: dict[Role, RemoteDesk]) -> None:
    admin = at["admin"]
    admin.create("eve", "viewer")
    assert admin.change_role("eve", "trainer").role == "trainer"
    issued = admin.issue("eve", "laptop", now() + timedelta(days=1))
    assert admin.tokens("eve") == (issued.token,)
    assert admin.revoke(issued.token.id).revoked is not None
    assert admin.disable("eve").disabled
    assert not admin.enable("eve").disabled
    assert "eve" in [account.name for account in admin.accounts()]
    assert admin.set_password("eve", "long enough for eve").name == "eve"
    with pytest.raises(BadInput, match="password of 5 characters"):
        admin.set_password("eve", "short")
    allowed = admin.allow_rows("eve", "assistant", "t01")
    assert (allowed.account, allowed.task, allowed.made_by) == ("eve", "t01", "the-admin")
    assert admin.row_rights() == (allowed,)
    hidden = admin.hide_rows("assistant", "t01", "addresses")
    assert admin.hidden_rows() == (hidden,)
    admin.unhide_rows("assistant", "t01")
    admin.revoke_rows("eve", "assistant", "t01")
    assert (admin.row_rights(), admin.hidden_rows()) == ((), ())
    with pytest.raises(NotFound):
        admin.revoke_rows("eve", "assistant", "t01")
    made = admin.add_webhook("ops", "http://127.0.0.1:9/x", kinds=["applied"])
    assert admin.webhooks() == (made.webhook,)
    assert admin.undelivered() == ()
    admin.remove_webhook("ops")
    assert admin.webhooks() == ()
    with pytest.raises(CheckFailed, match="role: "):
        at["promoter"].accounts()


def test_refusals_from_afar_are_the_sentences_from_here(
    running: Running, at: dict[Role, RemoteDesk]
) -> None:
    desk = Desk(running.registry, Actor(name="the-promoter", role="promoter", account=True))
    for ask in (
        lambda at: at.gate("nothing", 1),
        lambda at: at.gate("assistant", 99),
        lambda at: at.promote("assistant", 3, reason="x", expect=77),
        lambda at: at.approve(1, reason="x"),
        lambda at: at.reject(99, reason="x"),
        lambda at: at.retire("assistant", "t09", "x"),
    ):
        with pytest.raises((BadInput, CheckFailed)) as here:
            ask(desk)
        kind = CheckFailed if isinstance(here.value, CheckFailed) else BadInput
        with pytest.raises(kind) as there:
            ask(at["promoter"])
        assert str(there.value) == str(here.value)


def test_a_token_that_is_refused_is_one_clear_line(running: Running) -> None:
    for token, line in [
        (None, "token (none is set for http://127.0.0.1:"),
        (new_secret(), "does not take it"),
        ("a b\nc", "token (not one of a registry)"),
    ]:
        with pytest.raises(TokenRefused) as refusal, RemoteDesk(running.url, token) as desk:
            desk.sequences()
        assert line in str(refusal.value)
        assert str(token) not in str(refusal.value)


def test_the_environment_names_the_desk(
    running: Running, accounts: dict[Role, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(REGISTRY_VARIABLE, running.url)
    monkeypatch.setenv(TOKEN_VARIABLE, accounts["viewer"])
    with open_desk() as here:
        assert (here.place, here.registry) == (running.url, None)
        assert here.readers.sequences() == ("assistant", "careful")
        with pytest.raises(NotFound, match="nothing"):
            here.desk.champion("nothing")
    with pytest.raises(BadInput, match="is a server's API"):
        open_registry(tmp_path / "other")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_ends_it_cleanly_even_where_interrupts_were_ignored(
    number: signal.Signals, tmp_path: Path
) -> None:
    process = start(tmp_path / ".lori", tmp_path / "store", ignore_interrupts=True)
    url, token = said(process, "dashboard"), said(process, "token")
    assert re.fullmatch(r"lori_[A-Za-z0-9_-]{43}", token)
    with RemoteDesk(url, token) as desk:
        assert desk.create("ann", "admin").role == "admin"
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "ended\n", "")
    assert time.monotonic() - began < 15
