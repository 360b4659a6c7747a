"""What one look of the dispatcher does to submissions; its runs are in test_dispatch.py."""

import errno
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest.mock import NonCallableMock

import pytest

from flows.dispatcher import Dispatcher
from flows.following import run_key
from flows.habits import Habits
from flows.snapshots import keep_rows
from flows.submitted_file import file_document
from lori_core.config import TaskConfig
from registry.store import open_registry
from tests.flows.arriving_cases import Desk, know_base


def test_a_dispatch_has_one_key_and_a_restored_registry_other_ones(tmp_path: Path) -> None:
    keys = []
    for name in ("before", "restored"):
        (tmp_path / name).mkdir()
        with open_registry(tmp_path / name / ".lori") as registry:
            desk = Desk(tmp_path / name, registry)
            know_base(desk)
            desk.send(desk.file("color"))
            [given], [again] = desk.arrivals.dispatch(), desk.arrivals.dispatch()
            assert (given.id, given.token) == (1, 1)
            assert run_key(given) == run_key(again)
            keys.append(run_key(given))
    assert keys[0] != keys[1]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_registry(tmp_path / ".lori") as registry:
        found = Desk(tmp_path, registry)
        know_base(found)
        yield found


def test_a_submission_that_has_to_wait_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(task: TaskConfig, digests: Mapping[str, str], folder: Path) -> dict[str, str]:
        if task.name == "color":
            raise OSError(errno.ENOSPC, "No space left on device")
        return keep_rows(task, digests, folder)

    for name in ("color", "size"):
        desk.arrivals.hold_sequence(name, "so that nothing is sent to Prefect", "tests")
        document = file_document(desk.file(name, name=name))
        desk.arrivals.receive(
            document, source="schedule", folder=str(desk.folder), submitted_by="tests"
        )
    prefect = NonCallableMock(spec=())  # nothing is asked of it
    dispatcher = Dispatcher(desk.registry, desk.home, Habits())
    assert dispatcher.pressing()
    with monkeypatch.context() as now:
        now.setattr("flows.arriving.keep_rows", keep)
        assert dispatcher.tick(prefect).prepared == (2,)
        assert [each.id for each in desk.arrivals.received()] == [1]
        assert not dispatcher.pressing(), "it is looked at again in its time"
    assert dispatcher.tick(prefect).prepared == (1,)
    assert [each.task for each in desk.arrivals.arrivals()] == ["size", "color"]
