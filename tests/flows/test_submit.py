"""`lori submit`, `cancel`, `retry`, `hold`, `release` and `status`, as they are typed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.arriving import prepare
from flows.queue_report import span_text, stage_text
from flows.queue_targets import targets_of
from flows.times import parse_span
from lori_core.errors import BadInput, CheckFailed
from registry.arrival_records import Arrival
from registry.arrivals import Arrivals
from registry.decisions import Actor
from registry.queue_standing import queue_standing, seconds_a_task
from registry.queueing import Queue
from registry.store import open_registry
from tests.flows.arriving_cases import Desk, a_desk
from tests.flows.conftest import ROOT, Lab

SERVE = Path(__file__).parents[1] / "dashboard" / "serve_home.py"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with a_desk(tmp_path, "home") as found:
        yield found


@pytest.fixture
def shell(desk: Desk) -> Lab:
    return Lab(desk.folder)


def test_a_file_is_looked_at_whole_and_its_tasks_wait(lab: Lab) -> None:
    answer = lab.lori("submit", lab.file)
    assert (answer.returncode, answer.stdout) == (
        0,
        "tiny: color waits as arrival 1\ntiny: size waits as arrival 2\n",
    ), answer.stderr
    assert answer.stderr.splitlines()[-1] == f"home {lab.home}"
    again = json.loads(lab.lori("submit", lab.file, "--json").stdout)
    assert [each["new"] for each in again["tasks"]] == [False, False]
    too_short = lab.file.read_text().replace("max_length: 32", "max_length: 8")
    lab.file.write_text(too_short.replace("sequence: tiny", "sequence: other"))
    refused = lab.lori("submit", lab.file)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert len(refused.stderr.splitlines()) == 1
    with open_registry(lab.home) as registry:
        assert [each.sequence for each in Arrivals(registry).arrivals()] == ["tiny", "tiny"]
        assert len(Arrivals(registry).submissions(10)) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such file"),
        ("", "is empty"),
        ("sequence: tiny\ntasks: [", "line 2"),
        ("sequence: tiny\ntask: {name: a}\n", "is not known here"),
        ("sequence: tiny\nbase: ./nowhere\ntasks:\n - {name: a, train: {path: a.jsonl}, test: {path: a.jsonl}}\n",
         "nowhere does not exist"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_submitted_leaves_no_home(
    tmp_path: Path, text: str | None, says: str
) -> None:
    lab = Lab(tmp_path)
    if text is not None:
        lab.file.write_text(text)
    answer = lab.lori("submit", lab.file)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert says in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not lab.home.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Missing argument 'FILE'"),
        (("tiny.yaml", "--at", "1h", "--every", "1h"), "--at and --every exclude each other"),
        (("tiny.yaml", "--watch", "."), "no FILE"),
        (("tiny.yaml", "--priority", "99999999999"), "--priority"),
        (("tiny.yaml", "--every", "soon"), "span 'soon'"),
        (
            ("tiny.yaml", "--every", "1h", "--timezone", "Europe/Berlin"),
            "--timezone goes with --cron",
        ),
        (("tiny.yaml", "--at", "25:00"), "22:00+01:00"),
    ],
)
def test_wishes_that_cannot_be_meant_are_told(
    shell: Lab, arguments: tuple[str, ...], says: str
) -> None:
    answer = shell.lori("submit", *arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert says in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_the_queue_is_shown_and_changed_by_hand(desk: Desk, shell: Lab) -> None:
    desk.send(desk.file("color", "size", "animal"))
    desk.learn(desk.arrivals.arrival(1))
    [out] = desk.arrivals.dispatch()
    fence = desk.arrivals.take(out.id, out.token, "host:1")
    began = (datetime.now(UTC) - timedelta(seconds=30)).isoformat()
    told = {"stage": "train", "done": 10, "total": 40, "text": "loss 1.5", "since": began}
    desk.arrivals.renew(fence, told)
    assert shell.lori("hold", "3").returncode == 0
    shown = shell.lori("status")
    assert shown.returncode == 0, shown.stderr
    for said in ("train 10/40, about", "version 1", "held", "learned", "running"):
        assert said in shown.stdout
    [found] = json.loads(shell.lori("status", "tiny", "--json").stdout)
    assert [(each["task"], each["state"], each["arrival"]) for each in found["tasks"]] == [
        ("color", "learned", None),
        ("size", "running", 2),
        ("animal", "waiting", 3),
    ]
    running, held = found["queue"]["items"]
    assert running["progress"]["stage"] == "train"
    assert 90 <= running["progress"]["seconds_left"] < 900  # 30 s for the first 10, and on
    assert (held["held"], held["expected"]) == (True, None)
    assert running["expected"] is not None
    assert [each["version"] for each in found["queue"]["history"]] == [1]
    desk.arrivals.failed(fence, "no room")
    blocked = shell.lori("status").stdout
    assert "arrival 2 (size) failed: no room" in blocked
    assert "`lori retry 2`" in blocked
    assert "arrival 2 (tiny: size) waits again" in shell.lori("retry", "tiny").stdout
    assert "tiny is held" in shell.lori("hold", "tiny", "--reason", "lunch").stdout
    assert desk.arrivals.dispatch() == ()
    assert "lunch" in shell.lori("status").stdout
    assert shell.lori("release", "tiny", "3").returncode == 0
    [out] = desk.arrivals.dispatch()
    fence = desk.arrivals.take(out.id, out.token, "host:1")
    cancelled = shell.lori("cancel", "tiny").stdout.splitlines()
    assert [line.split()[1] for line in cancelled] == ["3", "2"]
    assert "is asked to end" in cancelled[1]
    assert desk.arrivals.renew(fence, {})


def test_verbs_that_do_not_fit_are_refused_in_one_line(desk: Desk, shell: Lab) -> None:
    desk.send(desk.file("color"))
    for arguments in (
        ("cancel", "9"), ("retry", "1"), ("release", "1"), ("release", "tiny"), ("retry", "tiny"),
        ("cancel", "No Name"), ("hold", "1", "99999999999"),
        ("hold", "nosuch"), ("release", "nosuch"), ("cancel", "nosuch"), ("retry", "nosuch"),
    ):  # fmt: skip
        answer = shell.lori(*arguments)
        assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1), answer
    assert not desk.arrivals.arrival(1).held
    assert desk.arrivals.held_sequences() == ()
    unknown = {shell.lori(verb, "nosuch").stderr for verb in ("status", "hold", "cancel", "retry")}
    assert len(unknown) == 1, unknown
    desk.arrivals.cancel(1, "tests")
    assert shell.lori("cancel", "tiny").stdout == "tiny: nothing waits\n"  # it came once


def test_lori_run_is_refused_while_a_worker_has_the_turn(desk: Desk, shell: Lab) -> None:
    file = desk.file("color")
    desk.send(file)
    desk.arrivals.dispatch()
    answer = shell.lori("run", file)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "a worker learns arrival 1 (color)" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_viewer_may_look_and_not_touch(desk: Desk) -> None:
    desk.send(desk.file("color"))
    viewer = Queue(desk.registry, Actor(name="v", role="viewer", account=True))
    assert viewer.arrival(1).task == "color"
    with pytest.raises(CheckFailed, match="role"):
        viewer.cancel(1)


def test_at_a_server_a_file_is_sent_and_what_came_of_it_is_told(desk: Desk, shell: Lab) -> None:
    file = desk.file("color")
    server = subprocess.Popen(
        [sys.executable, str(SERVE), str(desk.home), str(desk.folder / "store")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    over = threading.Event()

    def dispatcher() -> None:
        while not over.wait(0.2):
            for submission in desk.arrivals.received():
                prepare(desk.registry, desk.home, submission)

    preparing = threading.Thread(target=dispatcher)
    preparing.start()
    try:
        assert server.stdout is not None
        url, token = (server.stdout.readline().split()[1] for _ in range(2))
        away = {"LORI_REGISTRY_URL": url, "LORI_TOKEN": token}
        answer = shell.lori("submit", file, environment=away)
        assert (answer.returncode, answer.stdout) == (0, "tiny: color waits as arrival 1\n")
        assert answer.stderr.splitlines()[-1] == f"registry {url}"
        file.write_text(file.read_text().replace("metric", "metrics").replace("r: 8", "r: 0"))
        refused = shell.lori("submit", file, environment=away)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "adapter.r is 0" in refused.stderr
        assert "arrival 1" in shell.lori("cancel", "1", environment=away).stdout
        assert "cancelled" in shell.lori("status", environment=away).stdout
        later = shell.lori("submit", file, "--at", "1h", environment=away)
        assert "Do it on the machine that learns" in later.stderr
    finally:
        over.set()
        preparing.join()
        server.send_signal(signal.SIGTERM)
        server.wait(30)


# Estimates


def learned_in(arrival: Arrival, seconds: float) -> Arrival:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return replace(
        arrival, state="learned", started=start, finished=start + timedelta(seconds=seconds)
    )


def test_a_task_takes_what_the_last_ones_took(desk: Desk) -> None:
    desk.send(desk.file("color"))
    one = desk.arrivals.arrival(1)
    assert seconds_a_task([]) is None
    assert seconds_a_task([learned_in(one, 60), learned_in(one, 120)]) == 90


def test_nothing_is_expected_of_a_sequence_that_is_held_or_blocked(desk: Desk) -> None:
    desk.send(desk.file("color", "size", "animal"))
    desk.learn(desk.arrivals.arrival(1))
    queue = Queue(desk.registry, Actor(name="x", role="admin", account=True))
    now = datetime.now(UTC)
    second, third = queue_standing(queue, "tiny", now)["items"]
    assert second["expected"] is not None
    assert third["expected"] is not None
    assert now.isoformat() < second["expected"].replace("Z", "+00:00") < third["expected"]
    queue.hold_sequence("tiny", "lunch")
    assert [each["expected"] for each in queue_standing(queue, "tiny", now)["items"]] == [None] * 2


def test_spans_are_read_and_told() -> None:
    assert parse_span("90s") == timedelta(seconds=90)
    for text in ("", "0m", "1.5h", "h", "10", "1y"):
        with pytest.raises(BadInput):
            parse_span(text)
    assert [span_text(s) for s in (40, 200, 9000)] == ["40 s", "3 min", "2.5 h"]
    assert (
        stage_text({"stage": "file", "done": 0, "total": 0, "text": "", "seconds_left": None})
        == "file"
    )


def test_targets_are_numbers_or_names() -> None:
    assert targets_of(["3", "tiny"]) == [(3, None), (None, "tiny")]
    for text in ("0", "tiny/1", "tiny@champion", "-3"):
        with pytest.raises(BadInput):
            targets_of([text])
