"""Who may see rows of test data: a right of its own, which no role brings."""

from dataclasses import replace

import pytest
from people import LOOKS, Person, add_pages, behind, by_proxy
from registry_examples import sequence_record, task_record
from sqlalchemy import Engine, event

from dashboard.app import make_app
from lori_core.errors import BadInput, CheckFailed, NotFound
from registry import sign_ins
from registry.accounts import Accounts, new_secret, owner
from registry.decisions import Actor
from registry.row_rights import RowRights
from registry.store import Registry

PRINTED = new_secret()

pytestmark = pytest.mark.usefixtures("cheap_passwords")


@pytest.fixture
def tasks(known: Registry) -> Registry:
    known.declare_sequence(replace(sequence_record(), name="other"))
    for position in (1, 2):
        known.declare_task("other", task_record(position))
    return known


def sees(person: Person, sequence: str, task: str) -> bool:
    seen: bool = person.get(f"/rows/{sequence}/{task}").json()["seen"]
    api = person.client.get(f"/api/rows-of/{sequence}/{task}")
    assert api.status_code == (200 if seen else 403)
    return seen


def test_rows_take_a_right_of_their_own_which_no_role_brings(
    person: Person, tasks: Registry
) -> None:
    rights = RowRights(tasks, owner())
    for role in ("viewer", "admin"):
        person.sign_in(role)
        assert not sees(person, "assistant", "safety")
        rights.allow_rows(role, "assistant", "safety")
        assert sees(person, "assistant", "safety")
        assert not sees(person, "assistant", "math")
        assert not sees(person, "other", "safety")
        rights.allow_rows(role, "assistant", None)
        assert sees(person, "assistant", "math")
        assert not sees(person, "other", "safety")
        rights.revoke_rows(role, "assistant", None)
        assert not sees(person, "assistant", "math")
        assert sees(person, "assistant", "safety")
        rights.revoke_rows(role, "assistant", "safety")
        assert not sees(person, "assistant", "safety")


def test_hidden_rows_nobody_sees(person: Person, tasks: Registry) -> None:
    rights = RowRights(tasks, owner())
    person.sign_in("viewer")
    rights.allow_rows("viewer", "assistant", None)
    hidden = rights.hide_rows("assistant", "safety", "holds addresses")
    assert (hidden.reason, hidden.made_by) == ("holds addresses", owner().name)
    assert not sees(person, "assistant", "safety")
    assert sees(person, "assistant", "math")
    with pytest.raises(CheckFailed, match="was hidden by"):
        rights.hide_rows("assistant", "safety", "again")
    rights.unhide_rows("assistant", "safety")
    assert sees(person, "assistant", "safety")


def test_who_comes_by_a_proxy_has_his_rights_by_that_name(tasks: Registry) -> None:
    person, ann = behind(tasks), by_proxy("ann@example.org", "ml-read")
    RowRights(tasks, owner()).allow_rows("proxy:Ann@Example.org", "assistant", "safety")
    assert person.get("/rows/assistant/safety", **ann).json() == {"seen": True}
    assert person.get("/rows/assistant/math", **ann).json() == {"seen": False}
    ben = by_proxy("ben", "ml-release")
    assert person.get("/rows/assistant/safety", **ben).json() == {"seen": False}


def test_without_accounts_rows_take_the_printed_token(registry: Registry) -> None:
    person = Person(add_pages(make_app(registry, token=PRINTED, errands=False)))
    assert not sees(person, "assistant", "safety")
    person.send("/sign-in", {"token": PRINTED})
    assert sees(person, "assistant", "safety")
    RowRights(registry, owner()).hide_rows("assistant", "safety", "holds addresses")
    assert not sees(person, "assistant", "safety")
    bearer = {"authorization": f"Bearer {PRINTED}"}
    fresh = Person(person.client.app)  # type: ignore[arg-type]
    assert fresh.client.get("/api/rows-of/assistant/math", headers=bearer).status_code == 200


def test_a_right_names_what_there_is_and_an_admin_gives_it(tasks: Registry) -> None:
    rights = RowRights(tasks, owner())
    for name, sequence, task in [
        ("nobody", "assistant", None),
        ("viewer", "nothing", None),
        ("viewer", "assistant", "nothing"),
        ("Viewer", "assistant", None),
        ("os:root", "assistant", None),
        ("proxy:a b", "assistant", None),
    ]:
        with pytest.raises(BadInput):
            rights.allow_rows(name, sequence, task)
    assert rights.allow_rows("viewer", "assistant", None) == rights.allow_rows(
        "viewer", "assistant", None
    )
    assert [(each.account, each.task) for each in rights.row_rights()] == [("viewer", None)]
    with pytest.raises(NotFound):
        rights.revoke_rows("viewer", "assistant", "safety")
    with pytest.raises(NotFound):
        rights.unhide_rows("assistant", "safety")
    for role in ("viewer", "trainer", "reviewer", "promoter"):
        mine = RowRights(tasks, Actor(name=role, role=role, account=True))  # type: ignore[arg-type]
        for ask in (
            mine.row_rights,
            mine.hidden_rows,
            lambda mine=mine: mine.allow_rows("viewer", "assistant", None),
            lambda mine=mine: mine.revoke_rows("viewer", "assistant", None),
            lambda mine=mine: mine.hide_rows("assistant", "safety", "x"),
            lambda mine=mine: mine.unhide_rows("assistant", "safety"),
        ):
            with pytest.raises(CheckFailed, match="role: "):
                ask()


def test_asking_who_looks_takes_as_many_queries_however_many_rights_there_are(
    person: Person, tasks: Registry
) -> None:
    person.sign_in("viewer")

    def queries() -> int:
        count = 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1

        engine: Engine = tasks._database.engine
        event.listen(engine, "before_cursor_execute", counted)
        assert person.get(LOOKS).status_code == 200
        event.remove(engine, "before_cursor_execute", counted)
        return count

    before = queries()
    rights, book = RowRights(tasks, owner()), Accounts(tasks, owner())
    for task in ("safety", "math"):
        for sequence in ("assistant", "other"):
            rights.allow_rows("viewer", sequence, task)
            rights.hide_rows(sequence, task, "x")
    for number in range(20):
        book.create(f"more-{number}", "viewer")
        sign_ins.proxied_in(tasks, Actor(name=f"proxy:{number}", role="viewer", account=True))
    assert queries() == before <= 10
