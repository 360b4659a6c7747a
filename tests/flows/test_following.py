import os
import signal
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from registry.arrival_records import Arrival
from registry.arrivals import Arrivals
from tests.flows.crew import Crew, a_crew, wait_until
from tests.flows.stand_in import LEASE, seen, send

pytestmark = pytest.mark.slow


def test_one_process_learns_what_comes_next_and_each_arrival_has_a_run_in_prefect(
    tmp_path: Path,
    prefect_store: Path,
) -> None:
    with a_crew(tmp_path, prefect_store) as crew, crew.registry() as registry:
        for number in range(3):
            send(registry, "alpha", number)
        worker = crew.worker("worker")
        arrivals = Arrivals(registry)
        wait_until(lambda: _states(arrivals) == ["learned"] * 3, 120, crew.said)
        found = arrivals.arrivals()
        assert len({each.holder for each in found}) == 1
        assert [each.version for each in found] == [1, 2, 3]
        runs = [_run(crew, each) for each in found]
        assert len({run.id for run in runs}) == 3
        assert len({run.deployment_id for run in runs}) == 1
        assert [run.name for run in runs] == [f"alpha-task-{n}-{n + 1}.1" for n in range(3)]
        wait_until(lambda: all(_state(crew, each) == "Completed" for each in found), 10, crew.said)
        worker.stop()
    assert seen(crew.home, "alpha").begun == [1, 2, 3]


def test_killed_cancelled_and_stopped_amid_the_second_it_is_as_amid_the_first(
    tmp_path: Path,
    prefect_store: Path,
) -> None:
    with a_crew(tmp_path, prefect_store) as crew, crew.registry() as registry:
        send(registry, "alpha", 0)
        for number in (1, 2, 3):
            send(registry, "alpha", number, seconds=8.0)
        worker = crew.worker("worker")
        arrivals = Arrivals(registry)

        def runs_second(number: int, attempt: int = 1) -> bool:
            found = arrivals.arrival(number)
            begun = seen(crew.home, "alpha").begun
            return (found.state, found.attempt) == ("running", attempt) and number in begun

        wait_until(lambda: runs_second(2), 120, crew.said)
        killed = arrivals.arrival(2)
        assert killed.holder is not None
        os.kill(int(killed.holder.rpartition(":")[2]), signal.SIGKILL)
        wait_until(lambda: arrivals.arrival(2).token == 2, LEASE / 2, crew.said)
        assert _state(crew, killed) == "Crashed"
        assert _state(crew, arrivals.arrival(1)) == "Completed"

        # it waits and is learned by another process, which goes on
        wait_until(lambda: runs_second(3), 120, crew.said)
        second, third = arrivals.arrival(2), arrivals.arrival(3)
        assert (second.state, second.attempt) == ("learned", 2)
        assert second.holder == third.holder
        _cancel_in_prefect(crew, third)
        wait_until(lambda: arrivals.arrival(3).state == "cancelled", 10, crew.said)
        wait_until(lambda: _state(crew, third) == "Cancelled", 10, crew.said)

        wait_until(lambda: runs_second(4), 120, crew.said)
        assert worker.stop(within=30) < 15
        left = arrivals.arrival(4)
        assert (left.state, left.attempt) == ("waiting", 0)
    assert seen(crew.home, "alpha").overlaps == 0


def _states(arrivals: Arrivals) -> list[str]:
    return [each.state for each in arrivals.arrivals()]


def _run(crew: Crew, arrival: Arrival) -> FlowRun:
    assert arrival.flow_run_id is not None
    with (
        temporary_settings(updates={PREFECT_API_URL: crew.url}),
        get_client(sync_client=True) as client,
    ):
        return client.read_flow_run(UUID(arrival.flow_run_id))


def _state(crew: Crew, arrival: Arrival) -> str:
    state = _run(crew, arrival).state
    assert state is not None
    return state.name or ""


def _cancel_in_prefect(crew: Crew, arrival: Arrival) -> None:
    with (
        temporary_settings(updates={PREFECT_API_URL: crew.url}),
        get_client(sync_client=True) as client,
    ):
        client.set_flow_run_state(UUID(arrival.flow_run_id or ""), Cancelling())
