"""Files submitted later, on a real server with Prefect's own worker."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.scheduled import ScheduleFacts
from flows.schedules import (
    schedule_at,
    schedule_cron,
    schedule_every,
    schedules,
    unschedule,
    watch_folder,
)
from lori_core.errors import BadInput, NotFound
from registry.known_services import FILE, LOCK
from tests.flows.conftest import ROOT
from tests.flows.crew import wait_until
from tests.flows.prefect_cases import PrefectPlace

WHOLE = """sequence: a
base: ./base
tasks: [{name: one, train: {path: a.jsonl}, test: {path: b.jsonl}}]
"""
TASK = "sequence: a\ntask: {name: two, train: {path: a.jsonl}, test: {path: b.jsonl}}\n"


@pytest.mark.slow
def test_a_cron_each_minute_an_interval_and_a_time_really_fire(
    prefect_place: PrefectPlace, record_property: Callable[[str, object], None]
) -> None:
    cron, every, once = (prefect_place.file(name) for name in ("cron", "every", "once"))
    with prefect_place.worker():
        began = time.time()
        when = datetime.now(UTC) + timedelta(seconds=20)
        slugs = {
            schedule_at(once, when, priority=-1, again=False),
            schedule_every(every, timedelta(minutes=1), priority=0, again=False),
            schedule_cron(cron, "* * * * *", "Europe/Berlin", priority=4, again=True),
        }
        assert {each.slug for each in schedules()} == slugs
        single, seen = prefect_place.await_submission(once, 90)
        record_property("at: seconds late", seen - when.timestamp())
        assert (single.source, single.priority, single.again) == ("schedule", -1, False)
        assert single.folder == str(once.parent)
        fired, seen = prefect_place.await_submission(cron, 150)
        record_property("cron: seconds after the minute", seen % 60)
        assert (fired.priority, fired.again) == (4, True)
        _, seen = prefect_place.await_submission(every, 150)
        record_property("every: seconds late", seen - began - 60)
        assert seen - began >= 60
        facts: dict[str, ScheduleFacts] = {}

        def both_are_over() -> bool:
            facts.update((each.path, each) for each in schedules())
            return all(facts[str(file)].last_state == "Completed" for file in (cron, every))

        wait_until(both_are_over, 60, prefect_place.crew.said)  # another minute may begin now
        looked = datetime.now(UTC)
    assert str(once) not in {each.path for each in schedules()}  # it is over
    for file, rule in ((cron, "* * * * * Europe/Berlin"), (every, "every 0:01:00")):
        found = facts[str(file)]
        assert found.rule == rule
        assert found.next is not None
        # Within the minute; its worker takes a run ten seconds early, and the one after is next then.
        assert timedelta(seconds=-2) < found.next - looked <= timedelta(seconds=70)
        unschedule(found.slug)
    assert schedules() == ()


@pytest.mark.slow
def test_the_same_wish_twice_is_one_and_is_taken_back_once(prefect_place: PrefectPlace) -> None:
    file = prefect_place.file("twice")
    later = datetime.now(UTC) + timedelta(days=200)
    slugs = [schedule_cron(file, "0  3 * * *", "UTC", priority=p, again=False) for p in (1, 2)]
    slugs += [schedule_at(file, later, priority=p, again=False) for p in (0, 3)]
    assert slugs[0] == slugs[1] != slugs[2] == slugs[3]
    found = {each.slug: each for each in schedules()}
    assert len(found) == 2
    assert found[slugs[0]].priority == 2
    assert (found[slugs[2]].next, found[slugs[2]].priority) == (later, 3)
    listed = json.loads(prefect_place.lori("schedules", "--json").stdout)
    assert {each["slug"]: each["kind"] for each in listed} == {slugs[0]: "cron", slugs[2]: "at"}
    assert prefect_place.lori("unschedule", slugs[0]).returncode == 0
    unschedule(slugs[2])
    with pytest.raises(NotFound, match="lori schedules"):
        unschedule(slugs[2])


@pytest.mark.slow
def test_a_watched_folder_is_seen_in_prefect_and_known_to_the_dispatcher(
    prefect_place: PrefectPlace, tmp_path: Path
) -> None:
    from registry.arrivals import Arrivals

    with prefect_place.crew.registry() as registry:
        slug = watch_folder(registry, tmp_path, 7)
        assert watch_folder(registry, tmp_path, 7) == slug
        [watch] = Arrivals(registry).watches()
        [facts] = schedules()
        assert (facts.slug, facts.kind, facts.path) == (slug, "folder", str(tmp_path))
        assert (watch.folder, watch.priority, facts.priority) == (str(tmp_path), 7, 7)
        unschedule(slug)
        assert Arrivals(registry).watches() == ()
        slug = watch_folder(registry, tmp_path, 7)
        Arrivals(registry).unwatch(str(tmp_path))  # a registry that was made anew, say
        unschedule(slug)
    assert schedules() == ()


def test_what_cannot_be_scheduled_is_refused_in_one_line_before_prefect_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORI_HOME", str(tmp_path / "home"))
    file = tmp_path / "a.yaml"
    file.write_text(WHOLE)
    other = tmp_path / "other.yaml"
    other.write_text("- 1\n")
    past = datetime.now(UTC) - timedelta(seconds=1)
    cases = {
        "'61 . . . .': minute is '61': expected 0 to 59": lambda: schedule_cron(
            file, "61 * * * *", "UTC", priority=0, again=False
        ),
        "would never come": lambda: schedule_cron(
            file, "0 3 31 2 *", "UTC", priority=0, again=False
        ),
        "For example `0 3": lambda: schedule_cron(
            file, "* * * * * *", "UTC", priority=0, again=False
        ),
        "an IANA name": lambda: schedule_cron(
            file, "* * * * *", "Mars/Base", priority=0, again=False
        ),
        "a time to come": lambda: schedule_at(file, past, priority=0, again=False),
        "at least a minute": lambda: schedule_every(
            file, timedelta(seconds=59), priority=0, again=False
        ),
        "nosuch.yaml": lambda: schedule_every(
            tmp_path / "nosuch.yaml", timedelta(hours=1), priority=0, again=False
        ),
        "other.yaml": lambda: schedule_every(other, timedelta(hours=1), priority=0, again=False),
    }
    for words, wish in cases.items():
        with pytest.raises(BadInput, match=words) as refusal:
            wish()
        assert "\n" not in str(refusal.value)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (WHOLE.replace("base:", "bass:"), "bass"),
        (WHOLE.replace("name: one", "name: one, k: many"), "k is 'many'"),
        (WHOLE + "adapter: {r: 0}\n", "adapter.r is 0"),
        (TASK.replace("train:", "trian:"), "trian"),
        (TASK + "guard: [one]\n", "guards"),
        ("sequence: a\n", "base"),
    ],
)
def test_the_keys_of_a_file_are_checked_when_it_is_scheduled(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=words) as refusal:
        schedule_every(file, timedelta(hours=1), priority=0, again=False)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", [WHOLE, TASK, TASK + "guards: [nobody]\n"])
def test_what_needs_a_base_rows_or_earlier_tasks_is_left_until_it_is_submitted(text: str) -> None:
    from flows.submitted_file import check_keys, content_of

    name, content = content_of({"file": "a.yaml", "text": text})
    check_keys(content, name)


@pytest.mark.parametrize(
    ("url", "words"),
    [(None, "no server is named"), ("http://127.0.0.1:9/api", "a server that answers")],
)
def test_without_a_prefect_server_one_line_says_what_to_do(
    url: str | None, words: str, tmp_path: Path
) -> None:
    answer = _schedules(tmp_path, url)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert "lori up" in answer.stderr
    assert "PREFECT_API_URL" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_server_that_lori_up_is_starting_again_is_to_be_asked_in_a_moment(tmp_path: Path) -> None:
    gone = "http://127.0.0.1:9/api"

    def write(ours: bool) -> None:
        content = {
            "host": socket.gethostname(),
            "ready": True,
            "services": {"prefect": {"url": gone, "ours": ours}},
        }
        (tmp_path / FILE).write_text(json.dumps(content))

    with (tmp_path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write(ours=True)
        for url in (None, gone):
            said = _schedules(tmp_path, url).stderr
            assert said.endswith("is starting it again: try again in a moment.\n")
            assert "Start one with" not in said
        assert "Start one with `lori up`" in _schedules(tmp_path, "http://127.0.0.1:8/api").stderr
        write(ours=False)
        assert "Start one with `lori up`" in _schedules(tmp_path, gone).stderr


def _schedules(home: Path, url: str | None) -> subprocess.CompletedProcess[str]:
    """`lori schedules`, where the environment names this server, or none."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LORI_HOME": str(home)}
    environment.pop("PREFECT_API_URL", None)
    environment["PREFECT_HOME"] = str(home)
    if url is not None:
        environment["PREFECT_API_URL"] = url
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", "schedules"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
