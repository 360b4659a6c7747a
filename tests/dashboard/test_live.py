"""Live updates: a real server process and a plain HTTP client; the poller and the stream by themselves."""

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from arrival_cases import arrive, taken
from decision_cases import learn
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from people import Person

from dashboard import live
from dashboard.app import make_app
from dashboard.links import Links
from dashboard.live import EventStream, Live, event
from dashboard.visitors import STRANGER
from lori_core.errors import Unavailable
from registry.accounts import Accounts, owner
from registry.arrivals import Arrivals
from registry.clock import now
from registry.queue_records import SequenceQueue
from registry.queue_view import queue_view, sequence_queue
from registry.store import Registry, open_registry

ROOT = Path(__file__).parents[2]
NO_LINKS = Links(prefect=None, mlflow=None)


@dataclass
class Served:
    """A server process, and its home as this process has it."""

    process: subprocess.Popen[str]
    address: str
    registry: Registry

    def ask(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.address, timeout=20)
        connection.request("GET", path, headers={"accept": "text/event-stream"})
        return connection.getresponse()

    def listeners(self) -> float:
        lines = self.ask("/metrics").read().decode().splitlines()
        return float(next(line for line in lines if line.startswith("lori_live_")).split()[1])

    def end(self) -> float:
        """Seconds it took to leave once it was told."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate(timeout=30)
        assert (self.process.returncode, *said) == (0, "ended\n", "")
        return time.monotonic() - began


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    home, store = tmp_path / ".lori", tmp_path / "store"
    with open_registry(home, artifacts=FolderArtifacts(store), aliases=FakeAliases()) as registry:
        learn(registry, tmp_path / "made", 2)
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("serve_home.py")), str(home), str(store)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        assert process.stdout.readline().startswith("token ")
        yield Served(process, urlsplit(url).netloc, registry)
        if process.poll() is None:
            process.kill()
            process.communicate()


def events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
    """(name, data) of each, as the standard says: lines of data are joined by line feeds."""
    name, data = "", list[str]()
    while line := answer.readline():
        text = line.decode().rstrip("\n")
        key, _, value = text.partition(": ")
        if key == "event":
            name = value
        elif key == "data" or text == "data:":
            data.append(value)
        elif not text and data:
            yield name, "\n".join(data)
            name, data = "", []


def until(met: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.slow
def test_progress_reaches_who_listens(served: Served) -> None:
    arrivals = Arrivals(served.registry)
    [poems] = arrive(arrivals, "poems")
    fence = taken(arrivals, poems)
    answer = served.ask("/sequences/assistant/live")
    assert answer.status == 200
    assert answer.getheader("content-type") == "text/event-stream; charset=utf-8"
    assert answer.getheader("cache-control") == "no-store"
    heard = events(answer)
    first = dict([next(heard), next(heard), next(heard)])
    assert set(first) == {"stage", "queue", "tile"}
    assert "It has not said yet how far it is" in first["stage"]
    assert "poems" in first["queue"]
    told = {"stage": "train", "done": 40, "total": 120, "text": "<b>loss 1.2</b>"}
    arrivals.renew(fence, {**told, "since": (now() - timedelta(seconds=20)).isoformat()})
    began = time.monotonic()
    name, html = next(heard)
    assert time.monotonic() - began < 5
    assert name == "stage"  # the queue is as it was
    assert '<progress max="120" value="40"' in html
    assert re.search(
        "about 4[0-9]&nbsp;s left", html
    )  # 20 s for 40 of 120: twice that for the rest
    assert "&lt;b&gt;loss 1.2&lt;/b&gt;" in html
    arrivals.learned(fence, 3)
    assert next(html for name, html in heard if name == "stage" and "Nothing runs" in html)
    assert "/sequences/assistant/versions/3" in next(html for _, html in heard)


@pytest.mark.slow
def test_the_whole_queue_is_told_too(served: Served) -> None:
    heard = events(served.ask("/queue/live"))
    empty = dict([next(heard), next(heard)])
    assert "No task was ever sent" in empty["queue"]
    assert empty["lead"] == "Nothing runs and nothing waits."
    arrive(Arrivals(served.registry), "poems")
    busy = dict([next(heard), next(heard)])
    assert '<a href="/sequences/assistant">assistant</a>' in busy["queue"]
    assert "No task was ever sent" not in busy["queue"]
    assert busy["lead"].startswith("1 sequence in which something runs")


@pytest.mark.slow
def test_streams_end_when_the_server_is_told_to_stop(served: Served) -> None:
    answers = [served.ask("/sequences/assistant/live") for _ in range(3)]
    heard = [events(answer) for answer in answers]
    for each in heard:
        next(each)
    assert served.end() < 5  # far below the ten seconds a request may take
    for each in heard:
        assert len(list(each)) <= 2  # what was on its way; then the end, in order


@pytest.mark.slow
def test_a_reader_that_goes_frees_its_place(served: Served) -> None:
    answers = [served.ask("/sequences/assistant/live") for _ in range(4)]
    assert until(lambda: served.listeners() == 4)
    for answer in answers:
        answer.close()
    assert until(lambda: served.listeners() == 0)


@pytest.mark.slow
def test_more_readers_than_there_are_places_are_told_so(served: Served) -> None:
    answers = [served.ask("/sequences/assistant/live") for _ in range(live.MOST_LISTENERS)]
    assert {answer.status for answer in answers} == {200}
    one_more = served.ask("/sequences/assistant/live")
    assert one_more.status == 503
    assert "100 listen" in json.loads(one_more.read())["error"]
    assert served.ask("/healthz").status == 200  # pages are still answered
    answers.pop().close()
    assert until(lambda: served.ask("/sequences/assistant/live").status == 200)


@pytest.mark.slow
def test_who_is_nobody_hears_nothing(served: Served) -> None:
    assert served.ask("/sequences/unknown/live").status == 404
    Accounts(served.registry, owner()).create("ada", "admin")
    for path in ("/sequences/assistant/live", "/queue/live"):
        answer = served.ask(path)
        assert (answer.status, answer.read()) == (303, b"")
        assert str(answer.getheader("location")).startswith("/sign-in?next=")


def test_every_live_part_of_a_page_is_told_and_what_it_says_of_nothing_goes_with_the_first_task(
    registry: Registry,
) -> None:
    pages = Person(make_app(registry, token="t" * 43, errands=False))
    teller = live._Teller(STRANGER, NO_LINKS)
    told = teller.parts(queue_view(registry, now()))
    assert "No task was ever sent" in told["queue"]
    assert told["lead"] == "Nothing runs and nothing waits."
    assert "empty" in teller.parts(sequence_queue(registry, "assistant", now()))["tile"]
    arrive(Arrivals(registry), "poems", sequence="assistant")
    everything = teller.parts(queue_view(registry, now()))
    assert "No task was ever sent" not in everything["queue"]
    assert everything["lead"].startswith("1 sequence in which something runs")
    sequence = teller.parts(sequence_queue(registry, "assistant", now()))
    assert "1 waiting" in sequence["tile"]
    for path, parts in (("/queue", everything), ("/sequences/assistant", sequence)):
        page = pages.get(path).text
        assert set(re.findall('data-live="([^"]+)"', page)) == set(parts), path


def test_an_event_keeps_every_line_of_its_data() -> None:
    assert event("queue", "<p>\none\n\ntwo</p>\n") == (
        "event: queue\ndata: <p>\ndata: one\ndata: \ndata: two</p>\n\n"
    )
    assert event("queue", "") == "event: queue\ndata: \n\n"  # else it would be no event


# The poller and the stream by themselves


@dataclass
class Looks:
    """Stands in for what looks at the registry, and counts."""

    wanted: list[frozenset[str]] = field(default_factory=list)
    error: Exception | None = None
    seen: dict[str, SequenceQueue] = field(default_factory=dict)

    def __call__(self, registry: Registry, wanted: frozenset[str]) -> dict[str, SequenceQueue]:
        self.wanted.append(wanted)
        if self.error is not None:
            raise self.error
        return {name: self.seen[name] for name in wanted}


@pytest.fixture
def looks(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Looks:
    found = Looks()
    for name in ("one", "two", "three"):
        found.seen[name] = sequence_queue(registry, name, now())
    monkeypatch.setattr(live, "_look", found)
    monkeypatch.setattr(live, "POLL_SECONDS", 0.1)
    return found


def test_one_poller_asks_for_all_and_only_while_somebody_listens(
    registry: Registry, looks: Looks
) -> None:
    async def run() -> None:
        hub = Live(registry)
        await asyncio.sleep(0.25)
        assert looks.wanted == []
        listeners = [hub.join(name) for name in ("one", "two", "three") * 20]
        began = time.monotonic()
        async with asyncio.timeout(20):
            while len(looks.wanted) < 4:
                await asyncio.sleep(0.01)
        most = (time.monotonic() - began) / live.POLL_SECONDS + 2
        assert len(looks.wanted) <= most  # not sixty times as many
        assert set(looks.wanted) == {frozenset({"one", "two", "three"})}
        for each in listeners:
            assert await each.wait(20) == looks.seen[each.about]
            assert await each.wait(0.01) is None  # nothing new is nothing to tell
        for each in listeners[1:]:
            hub.leave(each)
        async with asyncio.timeout(20):
            while looks.wanted[-1] != frozenset({"one"}):
                await asyncio.sleep(0.01)
        hub.leave(listeners[0])
        await asyncio.sleep(0.5)
        asked = len(looks.wanted)
        await asyncio.sleep(0.5)
        assert len(looks.wanted) == asked

    asyncio.run(run())


def test_who_comes_and_goes_quickly_makes_it_look_no_oftener(
    registry: Registry, looks: Looks
) -> None:
    async def run() -> None:
        hub, began = Live(registry), time.monotonic()
        for _ in range(60):
            listener = hub.join("one")
            await asyncio.sleep(0.01)
            hub.leave(listener)
        assert len(looks.wanted) <= (time.monotonic() - began) / 0.1 + 1

    asyncio.run(run())


def test_who_comes_later_hears_at_once_what_is_known(registry: Registry, looks: Looks) -> None:
    async def run() -> None:
        hub = Live(registry)
        first = hub.join("one")
        assert await first.wait(5) is not None
        asked = len(looks.wanted)
        assert await hub.join("one").wait(0.02) == looks.seen["one"]
        assert len(looks.wanted) == asked

    asyncio.run(run())


def test_streams_end_while_the_store_is_away_and_begin_again(
    registry: Registry, looks: Looks, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        hub = Live(registry)
        looks.error = Unavailable("the store", "one that answers")
        listener = hub.join("one")
        async with asyncio.timeout(5):
            await listener.over.wait()
        hub.leave(listener)
        looks.error = None
        assert await hub.join("one").wait(5) == looks.seen["one"]

    asyncio.run(run())
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("ERROR", None)


def test_an_error_of_our_own_ends_the_streams_and_says_so_in_the_log(
    registry: Registry, looks: Looks, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        hub = Live(registry)
        looks.error = RuntimeError("a bug")
        listener = hub.join("one")
        async with asyncio.timeout(5):
            await listener.over.wait()

    asyncio.run(run())
    [record] = caplog.records
    assert record.levelname == "CRITICAL"
    assert record.exc_info is not None


def test_a_server_that_ends_lets_nobody_in(registry: Registry, looks: Looks) -> None:
    async def run() -> None:
        hub = Live(registry)
        listener = hub.join("one")
        hub.end()
        assert listener.over.is_set()
        with pytest.raises(Unavailable):
            hub.join("one")

    asyncio.run(run())


class Client:
    """The other side of a stream, in this process."""

    def __init__(self, *, reads: bool = True) -> None:
        self.reads = reads
        self.sent: list[bytes] = []
        self.status: int | None = None
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, object]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            self.status = int(str(message["status"]))
            return
        body = message["body"]
        assert isinstance(body, bytes)
        self.sent.append(body)
        if not self.reads:
            await asyncio.Event().wait()


async def streamed(
    hub: Live, client: Client, still_there: Callable[[], bool] = lambda: True
) -> float:
    """Seconds until the stream is over."""
    began = time.monotonic()
    teller = live._Teller(STRANGER, NO_LINKS)
    stream = EventStream(hub, "one", teller, still_there=still_there)
    await stream({"type": "http"}, client.receive, client.send)  # type: ignore[arg-type]
    assert hub.listeners == 0
    return time.monotonic() - began


def test_a_silent_stream_says_that_it_lives(
    registry: Registry, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT_SECONDS", 0.05)

    async def run() -> None:
        hub, client = Live(registry), Client()
        stream = asyncio.create_task(streamed(hub, client))
        async with asyncio.timeout(20):
            while client.sent.count(b": nothing new\n\n") < 4:
                await asyncio.sleep(0.02)
        client.gone.set()
        await stream
        assert client.sent[0] == b"retry: 2000\n\n"
        assert sum(each.startswith(b"event: ") for each in client.sent) == 3

    asyncio.run(run())


@pytest.mark.parametrize("busy", [False, True])
def test_a_stream_ends_soon_after_its_reader_is_let_in_no_more(
    registry: Registry, looks: Looks, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    monkeypatch.setattr(live, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(live, "POLL_SECONDS", 0.02)
    answers = iter([True, False])

    async def run() -> None:
        hub, client = Live(registry), Client()
        stream = asyncio.create_task(streamed(hub, client, lambda: next(answers)))
        for waiting in range(200 if busy else 0):
            looks.seen["one"] = replace(looks.seen["one"], waiting=waiting)
            await asyncio.sleep(0.01)
            if stream.done():
                break
        assert await stream < 1.5
        assert client.sent[-1] == b""

    asyncio.run(run())


def test_a_stream_is_over_after_its_time(
    registry: Registry, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LIFE_SECONDS", 0.3)

    async def run() -> None:
        client = Client()
        assert 0.3 <= await streamed(Live(registry), client) < 20
        assert client.sent[-1] == b""  # an end in order: who listens comes again

    asyncio.run(run())


def test_who_does_not_read_holds_nobody_up(registry: Registry, looks: Looks) -> None:
    async def run() -> None:
        hub, client = Live(registry), Client(reads=False)
        stream = asyncio.create_task(streamed(hub, client))
        await asyncio.sleep(0.2)
        hub.end()
        assert await stream < 0.2 + live.LAST_WORD_SECONDS + 20

    asyncio.run(run())
