"""`/metrics`, read by Prometheus' own parser."""

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from api_cases import Server
from arrival_cases import arrive
from decision_cases import ADA, ANN, learn, measured
from fake_aliases import FakeAliases
from fastapi import FastAPI
from fastapi.testclient import TestClient
from folder_artifacts import FolderArtifacts
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from dashboard.app import make_app
from registry.accounts import Accounts, owner
from registry.arrivals import Arrivals
from registry.clock import now
from registry.desk import Desk
from registry.store import Registry, open_registry
from registry.webhooks import Webhooks

Labels = tuple[tuple[str, str], ...]


@pytest.fixture
def registry(home: Path, tables: None, tmp_path: Path) -> Iterator[Registry]:
    store = FolderArtifacts(tmp_path / "store")
    with open_registry(home, artifacts=store, aliases=FakeAliases()) as registry:
        learn(registry, tmp_path / "made", 2)
        yield registry


def scrape(app: FastAPI, **headers: str) -> dict[tuple[str, Labels], float]:
    """Every sample, by its name and labels."""
    client = TestClient(app, base_url="http://127.0.0.1:8321")
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(answer.text)
        for sample in family.samples
    }


def labels(**given: str) -> Labels:
    return tuple(sorted(given.items()))


def test_the_registry_in_numbers(registry: Registry) -> None:
    arrivals = Arrivals(registry)
    first, _ = arrive(arrivals, "poems", 'odd"name'.replace('"', "-"), sequence="assistant")
    arrivals.hold(first, "ann")
    Desk(registry, ANN).promote("assistant", 1, reason="x")
    registry.stage_started("k", stage="train", sequence="assistant", task="t01")
    registry.stage_finished("k")
    found = scrape(make_app(registry, token="lori_x", errands=False))
    of = {"sequence": "assistant"}
    assert found["lori_versions", labels(**of)] == 2
    assert found["lori_arrivals", labels(**of, state="waiting")] == 2
    assert found["lori_arrivals", labels(**of, state="failed")] == 0
    assert found["lori_arrivals_held", labels(**of)] == 1
    assert 0 <= found["lori_oldest_waiting_seconds", labels(**of)] < 60
    assert found["lori_submissions", labels(state="accepted")] == 1
    assert found["lori_gate_reports_total", labels(**of, verdict="passed")] == 1
    assert found["lori_gate_reports_total", labels(**of, verdict="refused")] == 0
    moved = labels(**of, kind="promote", alias="champion", status="applied")
    assert found["lori_promotions", moved] == 1
    proved = labels(**of, read="inherited", basis="proved")
    assert found["lori_worst_forgetting", proved] == 0
    mode = labels(**of, read="inherited")
    assert ("lori_worst_forgetting_low", mode) not in found  # what is proved has no interval
    assert found["lori_earlier_tasks", labels(**of, read="inherited", known="proved")] == 1
    assert found["lori_earlier_tasks", labels(**of, read="inherited", known="missing")] == 0
    assert found["lori_stage_duration_seconds_count", labels(stage="train")] == 1
    assert found["lori_stage_duration_seconds_bucket", labels(stage="train", le="+Inf")] == 1
    assert found["lori_live_listeners", ()] == 0


def test_a_histogram_is_one(registry: Registry) -> None:
    for number in range(3):
        registry.stage_started(f"k{number}", stage="mask", sequence="assistant", task="t01")
        registry.stage_finished(f"k{number}")
    found = scrape(make_app(registry, token="lori_x", errands=False))
    buckets = sorted(
        (math.inf if dict(known)["le"] == "+Inf" else float(dict(known)["le"]), value)
        for (name, known), value in found.items()
        if name == "lori_stage_duration_seconds_bucket"
    )
    counts = [value for _, value in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == 3
    assert found["lori_stage_duration_seconds_sum", labels(stage="mask")] >= 0


def test_what_is_undefined_or_unmeasured_is_no_number(home: Path, tmp_path: Path) -> None:
    store = FolderArtifacts(tmp_path / "young")
    with open_registry(tmp_path / "h", artifacts=store, aliases=FakeAliases()) as registry:
        learn(registry, tmp_path / "one", 1)
        found = scrape(make_app(registry, token="lori_x", errands=False))
    assert not [name for name, _ in found if name == "lori_worst_forgetting"]
    assert not [name for name, _ in found if name == "lori_oldest_waiting_seconds"]


def test_every_scrape_counts_anew_and_every_server_tells_the_same(registry: Registry) -> None:
    one, other = (make_app(registry, token="lori_x", errands=False) for _ in range(2))
    before = scrape(one)
    assert scrape(one) == before == scrape(other)
    arrive(Arrivals(registry), "poems")
    waiting = ("lori_arrivals", labels(sequence="assistant", state="waiting"))
    assert waiting not in before
    assert scrape(one)[waiting] == scrape(other)[waiting] == 1


def test_who_asks_for_open_metrics_gets_them(registry: Registry) -> None:
    client = TestClient(
        make_app(registry, token="lori_x", errands=False), base_url="http://127.0.0.1:8321"
    )
    answer = client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in parse_open(answer.text)}
    assert {"lori_arrivals", "lori_gate_reports", "lori_stage_duration_seconds"} <= names


def test_where_people_have_accounts_a_scrape_takes_a_viewer(registry: Registry) -> None:
    book = Accounts(registry, owner())
    book.create("ada", "admin")
    book.create("prometheus", "viewer")
    secret = book.issue("prometheus", "scrapes", now() + timedelta(days=1)).secret
    app = make_app(registry, token=None, errands=False)
    client = TestClient(app, base_url="http://127.0.0.1:8321")
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"authorization": "Bearer no"}).status_code == 401
    assert scrape(app, authorization=f"Bearer {secret}")


def test_names_that_people_choose_break_no_line(server: Server, registry: Registry) -> None:
    cell = measured(registry, "assistant", 2, "t01", "inherited", score=0)
    registry.record_cell(cell)
    Desk(registry, ADA).freeze("assistant", now() + timedelta(hours=1), 'a "quoted"\nreason')
    found = scrape(server.browser.app)
    assert {name for name, _ in found if not name.startswith("lori_")} == set()


def test_what_waits_for_webhooks_is_one_number_without_their_names(registry: Registry) -> None:
    app = make_app(registry, token="lori_x", errands=False)
    assert scrape(app)["lori_webhook_undelivered", ()] == 0
    book = Webhooks(registry, ADA)
    for name in ("chat", "pager"):
        book.add_webhook(name, f"https://example.org/{name}")
    Desk(registry, ANN).promote("assistant", 1, reason="x")
    found = scrape(app)
    assert found["lori_webhook_undelivered", ()] == len(book.undelivered()) > 2
    assert 0 <= found["lori_webhook_oldest_seconds", ()] < 60
    assert not [known for name, known in found if name.startswith("lori_webhook") and known]
