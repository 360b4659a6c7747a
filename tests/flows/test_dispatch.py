import time
from pathlib import Path

import pytest

from flows.preparing import STUMBLED, Preparing
from registry.arrival_records import Submission
from registry.arrivals import Arrivals
from registry.store import Registry, open_registry
from registry.submissions import Submissions
from tests.flows.crew import STAND_IN, a_crew, wait_until
from tests.flows.orchestrator_soak import Size, survive
from tests.flows.tiny import write_sequence
from tests.registry.servers import NotHere


@pytest.mark.slow
def test_each_arrival_is_learned_once_in_order_and_alone_whoever_is_killed(tmp_path: Path) -> None:
    size = Size(arrivals=9, sequences=3, workers=2, kills=1)
    try:
        survive(tmp_path, size)
    except NotHere as reason:
        pytest.skip(str(reason))


def test_a_submission_we_stumble_over_is_refused_and_the_next_one_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(registry: Registry, home: Path, submission: Submission) -> Submission:
        if submission.document["number"] == 1:
            raise ZeroDivisionError("a bug of ours")
        return Submissions(registry).refuse(submission.id, "read")

    monkeypatch.setattr("flows.preparing.prepare", stumble)
    with open_registry(tmp_path) as registry:
        submissions = Submissions(registry)
        for number in (1, 2):
            submissions.receive({"number": number}, source="api", folder=None, submitted_by="tests")
        Preparing(registry, tmp_path).prepare()
        told = [submissions.submission(number).reason for number in (1, 2)]
    assert told == [STUMBLED, "read"]
    assert "ZeroDivisionError: a bug of ours" in caplog.text


def test_files_that_lie_in_the_home_are_never_moved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    with open_registry(home) as registry:
        (home / "link").mkdir()
        (tmp_path / "link").symlink_to(home / "link")
        (tmp_path / "drop").mkdir()
        folders = [home, home / "link", tmp_path / "link", tmp_path / "drop"]
        for folder in folders:  # as a registry has them that was made before they were refused
            Submissions(registry).watch(str(folder), 0, "tests")
            (folder / "a.yaml").write_text("no \0 text")
        preparing = Preparing(registry, home)
        for _ in range(3):
            preparing.prepare()
        assert [(each / "a.yaml").exists() for each in folders] == [True, True, True, False]
        assert (tmp_path / "drop" / "refused" / "a.yaml").exists()
        assert Submissions(registry).submissions(9) == ()
    assert caplog.text.count("is in the home and is not watched") == 3


@pytest.mark.slow
def test_a_worker_whose_dispatcher_has_a_bug_says_so_and_ends(
    tmp_path: Path, prefect_store: Path
) -> None:
    with a_crew(tmp_path, prefect_store) as crew:
        worker = crew.worker("worker", (*STAND_IN[:-1], "broken"))
        assert worker.process is not None
        assert worker.process.wait(timeout=120) == 1
        assert "ZeroDivisionError: a bug of ours" in worker.log.read_text()


@pytest.mark.slow
def test_a_dropped_file_starts_a_run_within_thirty_seconds(
    tmp_path: Path, prefect_store: Path
) -> None:
    file = write_sequence(tmp_path, ("color",))
    drops = tmp_path / "drops"
    drops.mkdir()
    sent = file.read_text().replace("./base", "../base").replace("rows/", "../rows/")
    with a_crew(tmp_path, prefect_store) as crew, crew.registry() as registry:
        Submissions(registry).watch(str(drops), 0, "tests")
        worker = crew.worker("worker")
        wait_until(lambda: "started" in worker.log.read_text(), 120, crew.said)

        dropped = time.monotonic()
        (drops / "bad.yaml").write_text("sequence: [")
        (drops / "task.yaml").write_text(sent)
        arrivals = Arrivals(registry)
        wait_until(lambda: any(each.started for each in arrivals.arrivals()), 60, crew.said)
        assert time.monotonic() - dropped < 30
        [arrival] = arrivals.arrivals()
        wait_until(lambda: arrivals.arrival(arrival.id).state == "learned", 60, crew.said)
    assert (arrival.sequence, arrival.task) == ("tiny", "color")
    assert (drops / "accepted" / "task.yaml").read_text() == sent
    assert "bad.yaml" in (drops / "refused" / "bad.yaml.why").read_text()
