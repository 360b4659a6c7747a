"""The page of the queue, used as people use it: through its forms, over HTTP, without a script."""

import html
import re
from datetime import timedelta
from pathlib import Path

import pytest
from arrival_cases import arrive, taken
from people import Person, add_pages, give_passwords
from sqlalchemy import update

from dashboard.app import make_app
from dashboard.links import MLFLOW_UI, PREFECT_API, PREFECT_UI, Links, find_links
from dashboard.once import COOKIE as TOLD
from lori_core.digests import write_json
from lori_core.errors import BadInput
from registry import known_services
from registry.arrival_models import ArrivalRow
from registry.arrivals import Arrivals
from registry.clock import now
from registry.queue_view import queue_view
from registry.store import Registry

pytestmark = pytest.mark.usefixtures("cheap_passwords")


@pytest.fixture(autouse=True)
def _no_other_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (PREFECT_API, PREFECT_UI, MLFLOW_UI):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def arrivals(registry: Registry) -> Arrivals:
    give_passwords(registry)
    return Arrivals(registry)


def as_(arrivals: Arrivals, name: str) -> Person:
    person = Person(add_pages(make_app(arrivals.registry, token=None, errands=False)))
    assert person.sign_in(name).status_code == 303
    return person


def words(page: str) -> str:
    """What a person reads."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def forms(page: str) -> set[str]:
    return set(re.findall(r'<form [^>]*action="(/(?:arrivals|sequences)/[^"]+)"', page))


def test_an_empty_queue_says_what_would_be_here(arrivals: Arrivals) -> None:
    page = as_(arrivals, "viewer").get("/queue")
    assert page.status_code == 200
    assert "No task was ever sent" in page.text
    assert "lori submit" in page.text


def test_what_runs_waits_and_failed_is_told(arrivals: Arrivals) -> None:
    first, second = arrive(arrivals, "poems", "sql")
    [failing] = arrive(arrivals, "bad", "behind", sequence="stuck")[:1]
    fence = taken(arrivals, first)
    arrivals.renew(fence, {"stage": "train", "done": 5, "total": 20, "text": "loss 1.5"})
    arrivals.failed(
        arrivals.take(failing, arrivals.arrival(failing).token, "host"), "no room <script>"
    )
    arrivals.hold_sequence("later", "the base moves", "ben")
    arrivals.hold(second, "ann")
    text = as_(arrivals, "viewer").get("/queue").text
    assert '<progress max="20" value="5"' in text
    assert "no room &lt;script&gt;" in text
    read = words(text)
    assert "train 5 of 20" in read
    assert f"Arrival {failing} failed, and order matters" in read
    assert "Nothing of this sequence is given out: the base moves" in read
    assert "held by ann" in read
    assert 'data-live-source="/queue/live"' in text
    only = as_(arrivals, "viewer").get("/queue?sequence=stuck").text
    assert "poems" not in only
    assert "data-live-source" not in only


def test_a_run_that_gives_no_sign_of_life_is_told_as_such_and_no_time_of_it(
    arrivals: Arrivals,
) -> None:
    [before] = arrive(arrivals, "before")
    arrivals.learned(taken(arrivals, before), 1)
    first, _ = arrive(arrivals, "poems", "sql")
    fence = taken(arrivals, first)
    began = (now() - timedelta(seconds=30)).isoformat()
    arrivals.renew(fence, {"stage": "train", "done": 5, "total": 20, "since": began})
    lively = words(as_(arrivals, "viewer").get("/queue").text)
    assert "left in this stage" in lively
    assert "Should be learned about" in lively
    assert "no sign of life" not in lively
    with arrivals.registry._database.writing() as session:
        quiet = now() - timedelta(seconds=40)
        session.execute(update(ArrivalRow).where(ArrivalRow.id == first).values(heartbeat=quiet))
    silent = words(as_(arrivals, "viewer").get("/queue").text)
    assert "No sign of life for 4" in silent
    assert "train 5 of 20" in silent
    assert "left in this stage" not in silent
    assert "Should be learned about" not in silent


def test_who_may_do_nothing_is_offered_nothing(arrivals: Arrivals) -> None:
    [poems] = arrive(arrivals, "poems")
    arrivals.hold_sequence("later", "the base moves", "ben")
    assert forms(as_(arrivals, "viewer").get("/queue").text) == set()
    trainer = as_(arrivals, "trainer")
    assert forms(trainer.get("/queue").text) == {
        f"/arrivals/{poems}/hold",
        f"/arrivals/{poems}/cancel",
        "/sequences/assistant/hold",
        "/sequences/later/release",
    }
    for verb in ("hold", "cancel", "retry", "release"):
        refused = as_(arrivals, "viewer").fill_in(f"/arrivals/{poems}/{verb}", {})
        assert refused.status_code == 403
        assert "the viewer" in refused.text or "viewer is a viewer" in refused.text
    assert as_(arrivals, "reviewer").fill_in("/sequences/assistant/hold", {"reason": "x"})
    assert arrivals.arrival(poems).state == "waiting"
    assert [each.sequence for each in arrivals.held_sequences()] == ["later"]


def test_an_arrival_is_held_released_cancelled_and_retried(arrivals: Arrivals) -> None:
    [poems] = arrive(arrivals, "poems")
    trainer = as_(arrivals, "trainer")
    for verb, told, state, held in (
        ("hold", "held", "waiting", True),
        ("release", "released", "waiting", False),
        ("cancel", "cancelled", "cancelled", False),
        ("retry", "retried", "waiting", False),
    ):
        assert f"/arrivals/{poems}/{verb}" in forms(trainer.get("/queue").text)
        answer = trainer.fill_in(f"/arrivals/{poems}/{verb}", {})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/queue#queue"
        assert answer.cookies[TOLD].startswith(f"{told}:{poems}:")
        now_is = arrivals.arrival(poems)
        assert (now_is.state, now_is.held, now_is.reason) == (
            state,
            held,
            f"{past(verb)} by trainer",
        )
        said = f"Arrival {poems} {'waits for' if verb == 'retry' else 'has its' if verb == 'release' else 'is'}"
        assert said in words(trainer.get("/queue").text)
        assert said not in words(trainer.get("/queue").text)  # a reload


def past(verb: str) -> str:
    return {"hold": "held", "release": "released", "cancel": "cancelled", "retry": "retried"}[verb]


def test_a_running_one_is_asked_to_end_and_offered_no_second_time(arrivals: Arrivals) -> None:
    [poems] = arrive(arrivals, "poems")
    fence = taken(arrivals, poems)
    trainer = as_(arrivals, "trainer")
    answer = trainer.fill_in(f"/arrivals/{poems}/cancel", {"back": "sequence"})
    assert answer.headers["location"] == "/sequences/assistant#queue"
    ends = f"Arrival {poems} is asked to end"
    assert ends not in words(trainer.get("/queue").text)
    assert ends in words(trainer.get("/sequences/assistant").text)
    assert ends not in words(trainer.get("/sequences/assistant").text)
    assert arrivals.cancel_requested(fence)
    page = trainer.get("/queue").text
    assert "cancelling" in words(page)
    assert f"/arrivals/{poems}/cancel" not in forms(page)


def test_what_is_refused_is_said_on_the_page_it_was_asked_on(arrivals: Arrivals) -> None:
    [poems] = arrive(arrivals, "poems")
    trainer = as_(arrivals, "trainer")
    for path, status, said in (
        (f"/arrivals/{poems}/release", 400, "one that is held"),
        ("/arrivals/4711/cancel", 404, "the number of an arrival"),
        ("/sequences/assistant/release", 400, "one that is held"),
        ("/sequences/assistant/hold", 400, "reason is empty"),
    ):
        answer = trainer.fill_in(path, {})
        assert answer.status_code == status, path
        assert "<h1>Queue</h1>" in answer.text
        assert said in words(answer.text)
    assert trainer.fill_in("/arrivals/0/cancel", {}).status_code == 400
    assert trainer.fill_in("/sequences/No%20Name/hold", {"reason": "x"}).status_code == 400


def test_a_form_from_elsewhere_is_refused(arrivals: Arrivals) -> None:
    [poems] = arrive(arrivals, "poems")
    trainer = as_(arrivals, "trainer")
    path = f"/arrivals/{poems}/cancel"
    assert trainer.send(path, {}).status_code == 403
    assert trainer.send(path, {"csrf": "x" * 43}).status_code == 403
    assert trainer.fill_in(path, {}, origin="http://evil.example").status_code == 403
    stranger = Person(make_app(arrivals.registry, token=None, errands=False))
    assert stranger.send(path, {"csrf": trainer.csrf()}).status_code == 403
    assert stranger.get("/queue").status_code == 303
    assert arrivals.arrival(poems).state == "waiting"


def test_a_sequence_is_held_with_a_reason_and_released(arrivals: Arrivals) -> None:
    arrive(arrivals, "poems", sequence="later")
    trainer = as_(arrivals, "trainer")
    held = trainer.fill_in("/sequences/later/hold", {"reason": "the base moves"})
    assert held.headers["location"] == "/queue#queue"
    assert held.cookies[TOLD].startswith("sequence-held:")
    [row] = arrivals.held_sequences()
    assert (row.sequence, row.reason, row.by) == ("later", "the base moves", "trainer")
    page = trainer.get("/queue").text
    assert "the base moves" in words(page)
    assert "/sequences/later/hold" not in forms(page)
    trainer.fill_in("/sequences/later/release", {})
    assert arrivals.held_sequences() == ()


def test_no_address_says_what_was_done(arrivals: Arrivals) -> None:
    viewer = as_(arrivals, "viewer")
    for page in ("/queue", "/sequences/assistant"):
        for told in ("held", "ending", "You won", "x" * 300):
            answer = viewer.get(page, {"told": told, "arrival": "7"})
            assert answer.status_code == 200
            assert "Arrival 7" not in words(answer.text)
            assert "You won" not in words(answer.text)
    assert viewer.get("/queue?page=0").status_code == 400
    assert viewer.get("/queue?sequence=No+Name").status_code == 400


def test_a_page_beyond_the_last_is_the_last(arrivals: Arrivals) -> None:
    arrive(arrivals, "poems")
    view = queue_view(arrivals.registry, now(), page=7)
    assert (view.page, [each.sequence for each in view.sequences]) == (1, ["assistant"])
    assert "data-live-source" in as_(arrivals, "viewer").get("/queue?page=7").text


def test_the_api_tells_the_same(arrivals: Arrivals) -> None:
    arrive(arrivals, "poems", "sql")
    admin = as_(arrivals, "admin")
    found = admin.get("/api/queue").json()
    view = queue_view(arrivals.registry, now())
    assert [each["sequence"] for each in found["sequences"]] == ["assistant"]
    assert [each["task"] for each in found["sequences"][0]["items"]] == ["poems", "sql"]
    assert set(found) == set(view.__slots__)
    assert admin.get("/api/queue?sequence=nobody").json()["sequences"][0]["items"] == []
    assert Person(admin.client.app).get("/api/queue", accept="*/*").status_code == 401


# Where other servers show more


def test_an_arrival_links_to_its_flow_run_where_prefect_has_pages(
    arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    [poems] = arrive(arrivals, "poems")
    [out] = arrivals.dispatch()
    arrivals.note_flow_run(poems, out.token, "0f0f-1")
    viewer = as_(arrivals, "viewer")
    assert "0f0f-1" not in viewer.get("/queue").text
    monkeypatch.setenv(PREFECT_API, "http://user:secret@prefect:4200/api/")
    page = viewer.get("/queue").text
    assert 'href="http://prefect:4200/runs/flow-run/0f0f-1"' in page
    assert "secret" not in page
    monkeypatch.setenv(PREFECT_UI, "https://prefect.example.org/")
    assert "https://prefect.example.org/runs/flow-run/0f0f-1" in viewer.get("/queue").text


def test_links_are_to_http_servers_alone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Links(prefect=None, mlflow=None)
    assert find_links(registry.settings) == nowhere  # MLflow's store is a file here
    for api in ("", "not a url", "http://[bad/api", "javascript:alert(1)/api"):
        monkeypatch.setenv(PREFECT_API, api)
        assert find_links(registry.settings) == nowhere
    assert nowhere.flow_run("x") is nowhere.run("x") is nowhere.model_version("m", 1) is None
    monkeypatch.setenv(MLFLOW_UI, "http://mlflow:5000/")
    links = find_links(registry.settings)
    assert links.run("ab c") == "http://mlflow:5000/#/runs/ab%20c"
    assert links.model_version("lori-a/b", 3) == "http://mlflow:5000/#/models/lori-a%2Fb/versions/3"
    assert links.run(None) is links.model_version(None, 3) is None
    for wrong in ("mlflow:5000", "file:///x", "javascript:alert(1)"):
        monkeypatch.setenv(MLFLOW_UI, wrong)
        with pytest.raises(BadInput, match=MLFLOW_UI):
            find_links(registry.settings)


def test_the_services_of_a_running_supervisor_are_linked_to(
    registry: Registry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = {
        "prefect": {"url": "http://127.0.0.1:4200/api", "ours": True},
        "mlflow": {"url": "http://127.0.0.1:5000", "ours": True},
    }
    write_json(
        home / known_services.FILE,
        {"host": known_services.socket.gethostname(), "ready": True, "services": services},
    )
    assert find_links(registry.settings).prefect is None  # nobody holds the lock: it died
    monkeypatch.setattr(known_services, "is_up", lambda home: True)
    links = find_links(registry.settings)
    assert (links.prefect, links.mlflow) == ("http://127.0.0.1:4200", "http://127.0.0.1:5000")
