"""A viewer cannot write, a trainer cannot promote, a requester cannot approve his own request: over HTTP.

Each is tried by the form of a page and by the API, with a cookie and with a token; the page shows a form
only to who may send it, but what is asked here is what the server does with one that is sent anyway.
"""

from collections.abc import Iterator

import pytest
from decision_cases import learn
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from people import Person, give_passwords, password_of, routes_of
from quick_passwords import quick_passwords
from sqlalchemy import select

from dashboard.app import make_app
from dashboard.proxy import proxy_of
from registry.access_models import SignInRow
from registry.accounts import Accounts, owner
from registry.arrivals import Arrivals
from registry.decisions import Actor, Role
from registry.desk import Desk
from registry.roles import MAY, ROLES, Action
from registry.store import Registry, open_registry

WHY = {"reason": "because"}
GROUPS = ["asks=promoter", "decides=reviewer", "looks=viewer", "everything=admin"]
PROXY = proxy_of(
    ["10.0.0.1"],
    user_header="X-Forwarded-User",
    groups_header="X-Forwarded-Groups",
    groups=GROUPS,
)

FORMS: dict[str, tuple[dict[str, str], Action]] = {
    "/sequences/assistant/promote": ({"version": "1", **WHY}, "promote"),
    "/sequences/assistant/rollback": (WHY, "rollback"),
    "/sequences/assistant/gate": ({"version": "1"}, "gate"),
    "/sequences/assistant/freeze": ({"until": "2100-01-01T00:00Z", **WHY}, "freeze"),
    "/sequences/assistant/thaw": (WHY, "thaw"),
    "/promotions/1/approve": (WHY, "approve"),
    "/promotions/1/reject": (WHY, "reject"),
    "/arrivals/1/cancel": ({}, "cancel"),
    "/arrivals/1/retry": ({}, "submit"),
    "/arrivals/1/hold": ({}, "hold"),
    "/arrivals/1/release": ({}, "hold"),
    "/sequences/assistant/hold": (WHY, "hold"),
    "/sequences/assistant/release": ({}, "hold"),
}
OF_ONES_OWN = {"/sign-in", "/sign-out", "/password"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """`assistant` is promoted by hand; `careful` asks for a second person. Two versions each."""
    root = tmp_path_factory.mktemp("rights")
    with (
        quick_passwords(),
        open_registry(
            root / ".lori", artifacts=FolderArtifacts(root / "store"), aliases=FakeAliases()
        ) as registry,
    ):
        learn(registry, root / "one", 2)
        learn(registry, root / "two", 2, name="careful", promotion="approval")
        give_passwords(registry)
        assert requested(registry, Actor(name="asker", role="promoter", account=True), 2) == 1
        yield registry


@pytest.fixture(scope="module")
def people(registry: Registry) -> dict[Role, Person]:
    """A person of each role, signed in."""
    app = make_app(registry, token=None, proxy=PROXY, errands=False)
    found = {role: Person(app) for role in ROLES}
    for role, person in found.items():
        assert person.sign_in(role).status_code == 303
        person.kept = csrf_of(registry, role)
    return found


def csrf_of(registry: Registry, name: str) -> str:
    with registry._database.reading() as session:
        for row in session.scalars(select(SignInRow).order_by(SignInRow.id.desc())):
            if name == (row.person if row.account is None else row.account.name):
                return row.csrf
    raise AssertionError(name)


def state(registry: Registry) -> object:
    """Everything that a decision about what serves changes, and the queue."""
    reader = Desk(registry, Actor(name="x", role="viewer", account=True))
    return (
        [(reader.log(name), reader.champion(name)) for name in registry.sequences()],
        Arrivals(registry).arrivals(),
        Arrivals(registry).held_sequences(),
    )


def test_the_list_above_is_every_form_of_every_page(people: dict[Role, Person]) -> None:
    offered = {
        path.format(sequence="assistant", promotion=1, arrival=1)
        for method, path in routes_of(people["viewer"].client.app)  # type: ignore[arg-type]
        if method == "POST" and not path.startswith("/api/")
    }
    assert offered - OF_ONES_OWN == set(FORMS)


@pytest.mark.parametrize("path", FORMS)
def test_a_form_sent_by_who_may_not_changes_nothing(
    registry: Registry, people: dict[Role, Person], path: str
) -> None:
    fields, action = FORMS[path]
    before = state(registry)
    for role in ROLES:
        if action in MAY[role]:
            continue
        answer = people[role].send(path, {"csrf": people[role].kept, **fields})
        assert answer.status_code == 403, (role, answer.status_code, answer.text)
    assert state(registry) == before


@pytest.mark.parametrize("path", FORMS)
def test_a_viewer_sends_no_form_by_whatever_way_he_came(
    registry: Registry, people: dict[Role, Person], path: str
) -> None:
    fields, _ = FORMS[path]
    before = state(registry)
    app = people["viewer"].client.app
    by_proxy = Person(app, peer="10.0.0.1")  # type: ignore[arg-type]
    said = {"x_forwarded_user": "vic", "x_forwarded_groups": "looks"}
    assert by_proxy.get("/queue", **said).status_code == 200
    csrf = csrf_of(registry, "proxy:vic")
    token = Accounts(registry, owner()).issue("viewer", "x").secret
    nobody = Person(app)  # type: ignore[arg-type]
    for answer in (
        by_proxy.send(path, {"csrf": csrf, **fields}, **said),
        nobody.send(path, {"csrf": csrf, **fields}),
        nobody.send(path, fields),
        nobody.send(path, {"csrf": "", **fields}, authorization=f"Bearer {token}"),
        people["admin"].send(path, {"csrf": people["viewer"].kept, **fields}),
        people["viewer"].send(path, {"csrf": people["admin"].kept, **fields}),
    ):
        assert answer.status_code == 403, (answer.status_code, answer.text)
    assert state(registry) == before


def asks(person: Person, path: str, body: dict[str, object], **headers: str) -> int:
    """Ask the API as a script on one of his pages would."""
    sent = {"x-csrf-token": person.kept, **headers}
    return person.client.post(path, json=body, headers=sent).status_code


def test_a_trainer_promotes_neither_by_form_nor_by_the_api(
    registry: Registry, people: dict[Role, Person]
) -> None:
    trainer = people["trainer"]
    before = state(registry)
    fields = {"csrf": trainer.kept, "version": "2", "reason": "mine"}
    assert trainer.send("/sequences/assistant/promote", fields).status_code == 403
    path = "/api/sequences/assistant/promotions"
    assert asks(trainer, path, {"version": 2, "reason": "mine"}) == 403
    token = Accounts(registry, owner()).issue("trainer", "x").secret
    bearer = {"authorization": f"Bearer {token}"}
    answer = Person(trainer.client.app).client.post(  # type: ignore[arg-type]
        path, json={"version": 2, "reason": "mine"}, headers=bearer
    )
    assert answer.status_code == 403
    assert state(registry) == before


def requested(registry: Registry, by: Actor, version: int = 1) -> int:
    asked = Desk(registry, by).promote("careful", version, reason="ready")
    assert asked.status == "requested"
    return asked.id


def take_back(registry: Registry, promotion: int) -> None:
    ada = Actor(name="ada-who-tidies", role="admin", account=True)
    Desk(registry, ada).reject(promotion, reason="tidied")


def test_who_asked_does_not_approve_by_form_api_or_token(
    registry: Registry, people: dict[Role, Person]
) -> None:
    admin = people["admin"]
    fields = {"csrf": admin.kept, "version": "1", "to": "champion", "reason": "ready"}
    answer = admin.send("/sequences/careful/promote", {**fields, "expect": "none"})
    assert answer.status_code == 303, answer.text
    viewer = Desk(registry, Actor(name="x", role="viewer", account=True))
    asked = next(each for each in viewer.pending("careful") if each.requested_by == "admin")
    before = state(registry)
    answer = admin.send(f"/promotions/{asked.id}/approve", {"csrf": admin.kept, **WHY})
    assert answer.status_code in {403, 409}
    assert "asked for it" in answer.text
    assert asks(admin, f"/api/promotions/{asked.id}/approve", dict(WHY)) == 409
    token = Accounts(registry, owner()).issue("admin", "x").secret
    bare = Person(admin.client.app).client  # type: ignore[arg-type]
    headers = {"authorization": f"Bearer {token}"}
    answer = bare.post(f"/api/promotions/{asked.id}/approve", json=WHY, headers=headers)
    assert answer.status_code == 409
    assert state(registry) == before
    for role in ("viewer", "trainer", "promoter"):
        person = people[role]  # type: ignore[index]
        sent = {"csrf": person.kept, **WHY}
        assert person.send(f"/promotions/{asked.id}/approve", sent).status_code == 403
        assert asks(person, f"/api/promotions/{asked.id}/approve", dict(WHY)) == 403
    assert state(registry) == before
    reviewer = people["reviewer"]
    answer = reviewer.send(
        f"/promotions/{asked.id}/approve", {"csrf": reviewer.kept, "reason": "read it"}
    )
    assert answer.status_code == 303, answer.text
    assert viewer.champion("careful") == 1
    Desk(registry, Actor(name="ada", role="admin", account=True)).rollback(
        "careful", reason="back", to_version=0
    )


@pytest.mark.parametrize(
    ("asked_by", "comes_as"),
    [("ann", "proxy"), ("proxy:ann@example.org", "account"), ("proxy:ann", "proxy")],
)
def test_another_way_in_makes_no_second_person(
    registry: Registry, people: dict[Role, Person], asked_by: str, comes_as: str
) -> None:
    promotion = requested(registry, Actor(name=asked_by, role="admin", account=True))
    path = f"/promotions/{promotion}/approve"
    before = state(registry)
    app = people["viewer"].client.app
    if comes_as == "proxy":
        person = Person(app, peer="10.0.0.1")  # type: ignore[arg-type]
        said = {"x_forwarded_user": "Ann@Example.org", "x_forwarded_groups": "everything"}
        assert person.get("/queue", **said).status_code == 200
        person.kept = csrf_of(registry, "proxy:ann@example.org")
        answer = person.send(path, {"csrf": person.kept, **WHY}, **said)
        headers = {name.replace("_", "-"): value for name, value in said.items()}
        assert asks(person, f"/api{path}", dict(WHY), **headers) == 409
    else:
        Accounts(registry, owner()).create("ann", "admin")
        token = Accounts(registry, owner()).issue("ann", "x").secret
        bare = Person(app).client  # type: ignore[arg-type]
        headers = {"authorization": f"Bearer {token}"}
        answer = bare.post(f"/api{path}", json=WHY, headers=headers)
    assert answer.status_code in {403, 409}
    assert "same person" in answer.text or "asked for it" in answer.text
    assert state(registry) == before
    take_back(registry, promotion)


def test_who_set_anothers_password_is_not_approved_by_him(
    registry: Registry, people: dict[Role, Person]
) -> None:
    """An admin could otherwise sign in as the reviewer whose password he chose."""
    promotion = requested(registry, Actor(name="admin", role="admin", account=True))
    reviewer = Person(people["viewer"].client.app)  # type: ignore[arg-type]
    admin = Actor(name="admin", role="admin", account=True)
    Accounts(registry, admin).set_password("reviewer", password_of("reviewer"))
    assert reviewer.sign_in("reviewer").status_code == 303
    reviewer.kept = csrf_of(registry, "reviewer")
    before = state(registry)
    answer = reviewer.send(f"/promotions/{promotion}/approve", {"csrf": reviewer.kept, **WHY})
    assert answer.status_code in {403, 409}
    assert "could be both" in answer.text
    assert state(registry) == before
    own = {"password": "chosen by himself", "again": "chosen by himself"}
    fields = {"csrf": reviewer.kept, "current": password_of("reviewer"), **own}
    assert reviewer.send("/password", fields).status_code == 303
    reviewer.kept = csrf_of(registry, "reviewer")
    answer = reviewer.send(f"/promotions/{promotion}/approve", {"csrf": reviewer.kept, **WHY})
    assert answer.status_code in {403, 409}  # the admin knew the one that it was changed by
    assert "could be both" in answer.text
