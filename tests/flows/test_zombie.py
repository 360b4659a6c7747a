"""Runs that must end before they are done: one that lost its turn, one that is late, one cancelled in Prefect."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from flows.working import LATE
from registry.arrivals import Arrivals
from registry.store import Registry
from tests.flows.crew import Crew, a_crew, wait_until
from tests.flows.stand_in import LEASE, seen, send


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory, prefect_store: Path) -> Iterator[Crew]:
    """Two workers that run one stand-in each."""
    with a_crew(
        tmp_path_factory.mktemp("crew"), prefect_store, more={"STAND_IN_LIMIT": "1"}
    ) as crew:
        with crew.registry():
            pass
        crew.worker("one")
        crew.worker("two")
        yield crew


@pytest.fixture
def registry(crew: Crew) -> Iterator[Registry]:
    with crew.registry() as registry:
        yield registry


@pytest.mark.slow
def test_a_run_that_slept_past_its_lease_can_write_nothing_when_it_wakes(
    crew: Crew, registry: Registry
) -> None:
    arrivals = Arrivals(registry)
    arrival = send(registry, "alpha", 1, then="sleep").id
    asleep = crew.home / f"asleep-{arrival}"
    wait_until(asleep.exists, 240, crew.said)  # Prefect's server stood still for a minute once
    zombie = psutil.Process(json.loads(asleep.read_text()))
    os.kill(zombie.pid, signal.SIGSTOP)
    wait_until(lambda: arrivals.arrival(arrival).state == "learned", 4 * LEASE + 60, crew.said)
    learned = arrivals.arrival(arrival)
    stages = registry.stages("alpha")

    os.kill(zombie.pid, signal.SIGCONT)
    woke = crew.home / f"woke-{arrival}.json"
    wait_until(woke.exists, 60, crew.said)
    said = json.loads(woke.read_text())
    assert len(said) >= 8
    assert set(said.values()) == {"FenceLost"}, said
    assert arrivals.arrival(arrival) == learned
    assert registry.stages("alpha") == stages
    wait_until(lambda: not zombie.is_running(), 30, crew.said)


@pytest.mark.slow
def test_a_run_that_takes_longer_than_its_hours_is_ended_and_says_what_to_do(
    crew: Crew, registry: Registry
) -> None:
    arrivals = Arrivals(registry)
    arrival = send(registry, "beta", 1, seconds=300, hours=2 / 3600).id
    wait_until(lambda: arrivals.arrival(arrival).state == "failed", 120, crew.said)
    assert arrivals.arrival(arrival).reason == LATE
    assert arrivals.blocked() == {"beta": arrival}
    assert seen(crew.home, "beta").ended == []


@pytest.mark.slow
def test_a_run_cancelled_in_prefect_is_a_cancelled_arrival(crew: Crew, registry: Registry) -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.states import Cancelling

    arrivals = Arrivals(registry)
    arrival = send(registry, "gamma", 1, seconds=300).id
    wait_until(lambda: seen(crew.home, "gamma").begun == [arrival], 120, crew.said)
    run = arrivals.arrival(arrival).flow_run_id
    assert run is not None
    with (
        temporary_settings(updates={PREFECT_API_URL: crew.url}),
        get_client(sync_client=True) as prefect,
    ):
        prefect.set_flow_run_state(UUID(run), Cancelling())
    wait_until(lambda: arrivals.arrival(arrival).state == "cancelled", 60, crew.said)
    assert seen(crew.home, "gamma").ended == []
