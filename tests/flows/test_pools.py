"""Pool, queues and deployments: as data, and on a real server."""

import inspect
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest

from flows.pools import POOL, apply, deployments, job_template
from flows.prefect_api import prefect_api
from tests.flows.prefect_cases import PrefectPlace

HEAVY = ("torch", "transformers", "mlflow", "datasets", "peft")


def test_each_deployment_asks_for_what_its_flow_takes() -> None:
    for spec in deployments():
        module, _, name = spec.entrypoint.rpartition(".")
        flow = getattr(import_module(module), name)
        assert flow.name == spec.flow
        taken = inspect.signature(flow.fn).parameters.values()
        defaults = [None if p.default is p.empty else p.default for p in taken]
        assert [each.name for each in spec.parameters] == [p.name for p in taken]
        assert [each.default for each in spec.parameters] == defaults


def test_the_template_fills_every_setting_of_prefects_process_worker() -> None:
    from prefect.workers.process import ProcessWorker

    theirs = ProcessWorker.get_default_base_job_template()
    ours = job_template()
    assert ours["job_configuration"] == theirs["job_configuration"]
    assert ours["variables"]["properties"].keys() == theirs["variables"]["properties"].keys()


@pytest.mark.parametrize("module", ["flows.pools", "flows.submit_file", "flows.schedules"])
def test_nothing_heavy_is_imported_to_register_or_to_submit(module: str) -> None:
    script = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.slow
def test_applying_twice_is_applying_once_and_runs_that_wait_stay(
    prefect_place: PrefectPlace,
) -> None:
    from prefect.client.schemas.actions import WorkPoolUpdate
    from prefect.states import Scheduled

    with prefect_api() as client:
        ids = apply(client, queues=("cpu", "gpu-1"))
        learn = ids["learn-arrival/default"]
        waiting = client.create_flow_run_from_deployment(
            learn,
            parameters={"arrival": 1, "token": 1},
            state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1)),
            work_queue_name="gpu-1",
        )
        client.update_work_pool(POOL, WorkPoolUpdate(is_paused=True, concurrency_limit=3))
        assert apply(client, queues=("cpu", "gpu-1")) == ids
        pool = client.read_work_pool(POOL)
        client.update_work_pool(POOL, WorkPoolUpdate(is_paused=False))
        assert (pool.type, pool.is_paused, pool.concurrency_limit) == ("process", True, 3)
        for queue in ("cpu", "gpu-1", "submit"):
            assert client.read_work_queue_by_name(queue, work_pool_name=POOL).name == queue
        kept = client.read_flow_run(waiting.id)
        assert kept.work_queue_name == "gpu-1"
        assert "lori" in kept.tags
        client.delete_flow_run(waiting.id)


@pytest.mark.slow
def test_a_run_without_what_its_flow_needs_is_refused_by_the_server(
    prefect_place: PrefectPlace,
) -> None:
    from prefect.exceptions import PrefectHTTPStatusError

    with prefect_api() as client:
        learn = apply(client)["learn-arrival/default"]
        with pytest.raises(PrefectHTTPStatusError, match="token"):
            client.create_flow_run_from_deployment(learn, parameters={"arrival": 1})
