"""Signing in by name and password, or by the token printed at start; and how a sign-in ends."""

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from people import DOES, LOOKS, Person, add_pages, password_of
from sqlalchemy import select, update

from dashboard.app import make_app
from dashboard.attempts import Attempts, address_key
from dashboard.office import COOKIE
from dashboard.pages.sign_in import NOT_RIGHT, way_onward
from dashboard.proxy import proxy_of
from lori_core.errors import BadInput, CheckFailed
from registry import passwords, sign_ins
from registry.access_models import SignInRow
from registry.accounts import Accounts, actor_of, new_secret, owner
from registry.clock import now
from registry.decision_models import AccountRow
from registry.decisions import Actor
from registry.store import Registry

PRINTED = new_secret()

pytestmark = pytest.mark.usefixtures("cheap_passwords")


@pytest.fixture
def embedded(registry: Registry) -> Person:
    return Person(add_pages(make_app(registry, token=PRINTED, errands=False)))


def who(person: Person) -> str | None:
    """Whom his page calls him; None where it is not shown."""
    page = person.get(LOOKS)
    return page.text.partition('<p class="line">')[2].partition("<")[0] if page.is_success else None


def later(registry: Registry, **values: datetime) -> None:
    with registry._database.writing() as session:
        session.execute(update(SignInRow).values(**values))


def test_who_is_not_signed_in_is_shown_the_way_in_and_back(person: Person) -> None:
    answer = person.get(f"{LOOKS}?read=inherited&page=2")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/sign-in?next=%2Flooks%3Fread%3Dinherited%26page%3D2",
    )
    page = person.get(answer.headers["location"])
    assert 'value="/looks?read=inherited&amp;page=2"' in page.text
    answer = person.sign_in("viewer", onward="/looks?read=inherited&page=2")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/looks?read=inherited&page=2",
    )
    assert who(person) == "viewer"
    assert person.get("/sign-in?next=/looks").headers["location"] == "/looks"


def test_the_cookie_is_kept_from_scripts_and_other_sites(person: Person) -> None:
    cookie = person.sign_in("viewer").headers["set-cookie"]
    name, *flags = [part.strip().lower() for part in cookie.split(";")]
    assert name.startswith(f"{COOKIE}=")
    assert set(flags) == {"httponly", "samesite=lax", "path=/", "max-age=604800"}


def test_the_cookie_travels_encrypted_alone_where_people_come_so(known: Registry) -> None:
    proxy = proxy_of(["10.0.0.0/8"], user_header=None, groups_header=None, groups=[])
    app = add_pages(make_app(known, token=None, proxy=proxy, errands=False))
    said = {"name": "viewer", "password": password_of("viewer")}
    direct = Person(app, base="https://127.0.0.1:8321")
    behind, liar = Person(app, peer="10.1.2.3"), Person(app, peer="192.0.2.1")
    for each, headers, secure in [
        (direct, {}, True),
        (behind, {"x_forwarded_proto": "https"}, True),
        (behind, {"x_forwarded_proto": "http"}, False),
        (behind, {}, False),
        (liar, {"x_forwarded_proto": "https"}, False),
    ]:
        each.client.cookies.clear()
        answer = each.send("/sign-in", said, **headers)
        assert ("; Secure" in answer.headers["set-cookie"]) == secure, headers


def test_neither_the_cookie_nor_the_password_is_kept(
    person: Person, known: Registry, home: Path
) -> None:
    person.sign_in("viewer")
    assert person.cookie is not None
    with known._database.reading() as session:
        row = session.scalars(select(SignInRow)).one()
        account = session.scalars(select(AccountRow).where(AccountRow.name == "viewer")).one()
    assert row.sha256 == hashlib.sha256(person.cookie.encode()).hexdigest()
    assert account.password_hash is not None
    assert account.password_hash.startswith("$argon2id$")
    for file in home.rglob("*"):
        if file.is_file():
            assert person.cookie.encode() not in file.read_bytes()
            assert password_of("viewer").encode() not in file.read_bytes()


def test_every_sign_in_has_a_secret_of_its_own_whatever_the_browser_held(
    person: Person, known: Registry
) -> None:
    person.cookie = "planted-by-somebody-else"
    person.sign_in("viewer")
    first = person.client.cookies.get(COOKIE, path="/")
    thief = Person(person.client.app)  # type: ignore[arg-type]
    thief.cookie = "planted-by-somebody-else"
    assert who(thief) is None
    assert first not in {None, "planted-by-somebody-else"}


def test_signing_in_once_more_ends_what_the_browser_had(person: Person) -> None:
    person.sign_in("viewer")
    first, csrf = person.cookie, person.csrf()
    person.sign_in("trainer")
    assert (who(person), person.csrf() != csrf) == ("trainer", True)
    assert person.cookie != first
    assert first is not None
    person.cookie = first
    assert who(person) is None


def test_signing_out_ends_it_for_who_kept_the_cookie_too(person: Person) -> None:
    person.sign_in("viewer")
    kept = person.cookie
    assert kept is not None
    assert person.send("/sign-out", {}).status_code == 403
    assert who(person) == "viewer"
    answer = person.fill_in("/sign-out", {})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert person.cookie is None
    person.cookie = kept
    assert who(person) is None


def test_a_wrong_name_and_a_wrong_password_look_the_same(known: Registry) -> None:
    app = make_app(known, token=None, errands=False)
    right = password_of("viewer")
    for number, (name, password) in enumerate(
        [
            ("viewer", "wrong"),
            ("viewer", ""),
            ("viewer", right + " "),
            ("viewer", "x" * 300),
            ("viewer", "x" * 19_000),
            ("nobody", right),
            ("", ""),
            ("Viewer", right),
            ("viewer' OR 1=1 --", right),
            ("proxy:viewer", right),
            ("os:root", right),
        ]
    ):
        person = Person(app, peer=f"192.0.2.{number}")
        answer = person.send("/sign-in", {"name": name, "password": password})
        assert (answer.status_code, NOT_RIGHT in answer.text) == (401, True), (name, password)
        assert "set-cookie" not in answer.headers
        if len(password) > 1:
            assert password not in answer.text


def test_who_has_no_password_or_is_shut_out_does_not_come_in(
    person: Person, known: Registry
) -> None:
    book = Accounts(known, owner())
    book.create("ann", "viewer")
    book.disable("viewer")
    for name in ("ann", "viewer"):
        assert person.sign_in(name).status_code == 401


def test_as_much_is_computed_for_a_name_that_is_nobodys(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    verify = passwords._HASHER.verify

    class Counting:
        def hash(self, password: bytes) -> str:
            raise AssertionError("nothing is hashed anew for a guess")

        def verify(self, kept: str, password: bytes) -> bool:
            verified.append(kept.rpartition("$")[0].rpartition("$")[0])
            return verify(kept, password)

    person.sign_in("viewer")
    monkeypatch.setattr(passwords, "_HASHER", Counting())
    for name in ("trainer", "nobody-at-all"):
        assert person.send("/sign-in", {"name": name, "password": "no"}).status_code == 401
    assert len(verified) == 2
    assert verified[0] == verified[1]  # the same algorithm with the same parameters


def test_the_eleventh_failure_in_five_minutes_is_not_looked_at(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(10):
        assert person.send("/sign-in", {"name": "viewer", "password": "no"}).status_code == 401
    answer = person.sign_in("viewer")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 300
    assert "Too many tries" in answer.text
    assert person.sign_in("trainer").status_code == 429  # the address is slowed, too
    elsewhere = Person(person.client.app, peer="192.0.2.7")  # type: ignore[arg-type]
    assert elsewhere.sign_in("viewer").status_code == 429  # and the name, wherever it is tried
    assert elsewhere.sign_in("trainer").status_code == 303
    office = person.client.app.state.office  # type: ignore[attr-defined]
    clock = office.attempts._clock
    monkeypatch.setattr(office.attempts, "_clock", lambda: clock() + 301)
    assert person.sign_in("viewer").status_code == 303


def test_only_failures_count() -> None:
    attempts = Attempts(clock=lambda: 0.0)
    for _ in range(100):
        assert attempts.take("name ann", "address 192.0.2.1") == 0
        attempts.forget_one("name ann", "address 192.0.2.1")
    for _ in range(10):
        assert attempts.take("name ann", "address 192.0.2.1") == 0
    assert attempts.take("name ann", "address 192.0.2.2") == 300
    assert attempts.take("name ben", "address 192.0.2.2") == 0


def test_memory_for_guesses_is_bounded() -> None:
    attempts = Attempts(clock=lambda: 0.0)
    for number in range(20_000):
        attempts.take(f"name {number}")
    assert len(attempts._tried) == 10_000


def test_who_has_a_whole_network_of_addresses_has_one_count() -> None:
    assert address_key("2001:db8:1:2::1") == address_key("2001:db8:1:2:ffff::9")
    assert address_key("2001:db8:1:2::1") != address_key("2001:db8:1:3::1")
    assert address_key("192.0.2.1") != address_key("192.0.2.2")


def test_half_a_day_of_silence_or_a_week_in_all_ends_it(person: Person, known: Registry) -> None:
    person.sign_in("viewer")
    later(known, last_seen=now() - timedelta(hours=11, minutes=59))
    assert who(person) == "viewer"
    later(known, last_seen=now() - timedelta(hours=12, seconds=1))
    assert who(person) is None
    person.sign_in("viewer")
    later(known, last_seen=now(), expires=now() + timedelta(seconds=60))
    assert who(person) == "viewer"
    later(known, expires=now() - timedelta(seconds=1))
    assert who(person) is None


def test_a_sign_in_lasts_a_week_and_is_forgotten_a_month_later(
    person: Person, known: Registry
) -> None:
    person.sign_in("viewer")
    with known._database.reading() as session:
        row = session.scalars(select(SignInRow)).one()
        assert row.expires - row.created == timedelta(days=7)
    later(known, expires=now() - timedelta(days=31))
    person.sign_in("trainer")
    with known._database.reading() as session:
        assert len(session.scalars(select(SignInRow)).all()) == 1


def test_being_there_is_noted_now_and_then_and_not_for_each_page(
    person: Person, known: Registry
) -> None:
    person.sign_in("viewer")
    seen = now() - timedelta(minutes=9)
    later(known, last_seen=seen)
    who(person)
    with known._database.reading() as session:
        assert session.scalars(select(SignInRow.last_seen)).one() == seen
    later(known, last_seen=now() - timedelta(minutes=11))
    who(person)
    with known._database.reading() as session:
        assert session.scalars(select(SignInRow.last_seen)).one() > seen


def test_shutting_an_account_out_and_a_new_password_end_its_sign_ins_for_good(
    person: Person, known: Registry
) -> None:
    book = Accounts(known, owner())
    person.sign_in("viewer")
    other = Person(person.client.app)  # type: ignore[arg-type]
    other.sign_in("trainer")
    book.disable("viewer")
    assert who(person) is None
    book.enable("viewer")
    assert who(person) is None
    person.sign_in("viewer")
    book.set_password("viewer", "another word, as long")
    assert who(person) is None
    assert person.sign_in("viewer").status_code == 401
    assert who(other) == "trainer"


def test_another_role_counts_from_the_next_page_on(person: Person, known: Registry) -> None:
    person.sign_in("viewer")
    assert '<p class="advice">viewer' in person.get(LOOKS).text
    Accounts(known, owner()).change_role("viewer", "promoter")
    assert '<p class="advice">promoter' in person.get(LOOKS).text


def test_a_person_changes_his_own_password_and_stays_signed_in_here_alone(
    person: Person, known: Registry
) -> None:
    elsewhere = Person(person.client.app)  # type: ignore[arg-type]
    for each in (person, elsewhere):
        each.sign_in("viewer")
    before = person.cookie
    wanted = {"password": "quite another word", "again": "quite another word"}
    current = {"current": password_of("viewer")}
    for fields, status, line in [
        ({**wanted, "current": "no"}, 403, "current password is not right"),
        ({**wanted, **current, "again": "not that"}, 400, "not the same twice"),
        ({**current, "password": "short", "again": "short"}, 400, "expected 12 to 256"),
    ]:
        answer = person.fill_in("/password", fields)
        assert (answer.status_code, line in answer.text) == (status, True)
    assert who(elsewhere) == "viewer"
    assert person.fill_in("/password", {**wanted, **current}).status_code == 303
    assert (who(person), who(elsewhere)) == ("viewer", None)
    assert person.cookie != before
    with known._database.reading() as session:
        row = session.scalars(select(AccountRow).where(AccountRow.name == "viewer")).one()
        assert row.password_by == "viewer"


def test_who_knows_a_password_vouches_for_who_signs_in_by_it(known: Registry) -> None:
    ada = Actor(name="ada", role="admin", account=True)
    Accounts(known, ada).set_password("reviewer", password_of("reviewer"))
    begun = sign_ins.with_password(known, "reviewer", password_of("reviewer"))
    assert begun is not None
    assert begun.sign_in.actor.vouched_by == (owner().name, "ada")


def test_a_password_is_set_by_an_admin_or_oneself(known: Registry) -> None:
    for role in ("viewer", "promoter"):
        actor = Actor(name=role, role=role, account=True)  # type: ignore[arg-type]
        his = Accounts(known, actor)
        with pytest.raises(CheckFailed, match="role: "):
            his.set_password("admin", "long enough, this one")
        for current in (None, "", "long enough, this one"):
            with pytest.raises(CheckFailed, match="takes the current one"):
                his.set_password(role, "long enough, this one", current)
        his.set_password(role, "long enough, this one", password_of(role))
    for password in ("", "eleven char", "x" * 257):
        with pytest.raises(BadInput, match="password of"):
            Accounts(known, owner()).set_password("viewer", password)


def test_the_first_password_is_no_token_s_to_set(known: Registry) -> None:
    book = Accounts(known, owner())
    book.create("ben", "viewer")
    ben = Accounts(known, actor_of(known, book.issue("ben", "a day").secret))
    with pytest.raises(CheckFailed, match="role: "):
        ben.set_password("ben", "long enough, this one")


def test_tries_at_the_current_password_are_counted_at_the_api_too(
    person: Person, known: Registry
) -> None:
    secret = Accounts(known, owner()).issue("viewer", "laptop").secret
    wrong = {"password": "quite another word", "current": "no"}
    said = [
        person.client.put(
            "/api/accounts/viewer/password",
            json=wrong,
            headers={"authorization": f"Bearer {secret}"},
        ).text
        for _ in range(12)
    ]
    assert ["too many tries" in each for each in said] == [False] * 10 + [True] * 2


def test_who_gave_another_his_password_stays_its_voucher_when_it_is_changed_by_it(
    known: Registry,
) -> None:
    for name in ("ada", "eve"):
        Accounts(known, owner()).create(name, "admin")
    ada = Actor(name="ada", role="admin", account=True)
    eve = Actor(name="eve", role="admin", account=True)
    Accounts(known, ada).create("ben", "reviewer")
    Accounts(known, eve).set_password("ben", password_of("ben"))
    begun = sign_ins.with_password(known, "ben", password_of("ben"))
    assert begun is not None
    Accounts(known, begun.sign_in.actor).set_password(
        "ben", "eve says she is ben", password_of("ben")
    )
    again = sign_ins.with_password(known, "ben", "eve says she is ben")
    assert again is not None
    assert again.sign_in.actor.vouched_by == ("ada", "eve")
    his = Accounts(known, ada).issue("ben", "from ada").secret
    Accounts(known, actor_of(known, his)).set_password(
        "ben", "a word of his own", "eve says she is ben"
    )
    own = sign_ins.with_password(known, "ben", "a word of his own")
    assert own is not None
    assert own.sign_in.actor.vouched_by == ("ada",)


def test_a_letter_composed_in_another_way_is_the_same_letter(known: Registry) -> None:
    Accounts(known, owner()).set_password("viewer", "caf\u00e9 am Bahnhof")
    assert sign_ins.with_password(known, "viewer", "cafe\u0301 am Bahnhof") is not None
    assert sign_ins.with_password(known, "viewer", "cafe am Bahnhof") is None


ELSEWHERE = [
    "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example",
    "https:evil.example", "javascript:alert(1)", "evil.example", "", "/\t/evil.example",
    "/\n/evil.example", "/ok\r\nset-cookie: a=b", "/a\\..\\b", "/sign-in", "/sign-out",
    "/sign-in?next=/sign-in", "/" + "x" * 3000, "///evil.example", "\u2028//evil.example",
    "/\x00", "?next=//evil.example",
]  # fmt: skip


def test_after_signing_in_nobody_is_led_elsewhere(person: Person) -> None:
    for wanted in ELSEWHERE:
        assert way_onward(wanted) == "/", wanted
        person.client.cookies.clear()
        assert person.sign_in("viewer", onward=wanted).headers["location"] == "/", wanted
        assert person.get("/sign-in", params={"next": wanted}).headers["location"] == "/", wanted


def test_a_path_of_ours_is_gone_on_to(person: Person) -> None:
    for onward in ("/", "/sequences/a?read=inherited&rows=26", "/a#b", "/é"):
        location = person.sign_in("viewer", onward=onward).headers["location"]
        assert location == onward.replace("é", "%C3%A9")


def test_a_sign_in_sent_by_a_page_elsewhere_is_refused(person: Person) -> None:
    said = {"name": "viewer", "password": password_of("viewer")}
    for headers in (
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8321.evil.example"},
        {"origin": "http://127.0.0.1:8321@evil.example"},
    ):
        answer = person.send("/sign-in", said, **headers)
        assert (answer.status_code, person.cookie) == (403, None), headers


def test_without_accounts_the_printed_token_signs_the_owner_in(embedded: Person) -> None:
    assert who(embedded) == "anyone"
    assert embedded.send(DOES, {"csrf": ""}).status_code == 403
    assert embedded.send("/sign-in", {"token": new_secret()}).status_code == 401
    assert embedded.send("/sign-in", {"token": ""}).status_code == 401
    assert embedded.send("/sign-in", {"token": "é"}).status_code == 401
    assert embedded.send("/sign-in", {"name": "x", "password": "y"}).status_code == 401
    assert embedded.send("/sign-in", {"token": PRINTED, "next": LOOKS}).status_code == 303
    assert who(embedded) == owner().name
    assert embedded.fill_in(DOES, {}).json() == {"did": owner().name}
    assert embedded.fill_in("/sign-out", {}).headers["location"] == "/"
    assert who(embedded) == "anyone"


def test_another_printed_token_and_the_first_account_end_the_owners_sign_in(
    embedded: Person, registry: Registry
) -> None:
    embedded.send("/sign-in", {"token": PRINTED})
    kept = embedded.cookie
    assert kept is not None
    restarted = Person(add_pages(make_app(registry, token=new_secret(), errands=False)))
    restarted.cookie = kept
    assert who(restarted) == "anyone"
    assert who(embedded) == owner().name
    Accounts(registry, owner()).create("ann", "admin")
    assert who(embedded) is None
    assert embedded.send("/sign-in", {"token": PRINTED}).status_code == 401
