"""The flow that learns one arrival: what the dispatcher starts on a worker.

Everything `lori run` does for one task, on what the sequence is now: the same corridor, the same
stages under the same keys, so that the bits are those of a run by hand.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.arrival_plan import plan_of
from flows.deciding import judge, promote_as_allowed
from flows.free_hand import refuse_free_plan, sender_of_arrival_may_promote
from flows.learn_task import learn_task
from flows.running import Running, as_running
from flows.session import declare, inspect_base
from flows.stage_process import StageProcess
from flows.working import Work, work_on
from registry.desks import acting, opened
from registry.roles import allow
from registry.warming import warm


@flow(name="learn-arrival", validate_parameters=False)
def learn_arrival(arrival: int, token: int) -> State[Any]:
    """Learn an arrival if it is this token's turn; how it ended is in its row, and here."""
    return work_on(arrival, token, learn_one)


def learn_one(work: Work) -> int:
    """Learn the arrival's task on what its sequence is now. Returns the version it became."""
    sequence, task = work.arrival.sequence, work.arrival.task
    with work.shop.holding(work.home, sequence, work.ours) as stages:
        filed = _filed(work)
        if filed is None:
            with _running(work, stages):
                return learn_task(sequence, task)
        _decide(work, filed)
        return filed


def _filed(work: Work) -> int | None:
    """The version that an attempt before this one filed, if it came so far."""
    if work.registry.find_sequence(work.arrival.sequence) is None:
        return None
    versions = work.registry.versions(work.arrival.sequence)
    done = [each for each in versions if each.state == "registered"]
    return next((each.version for each in done if each.task == work.arrival.task), None)


def _decide(work: Work, version: int) -> None:
    """Judge a filed version and promote it as far as its sequence allows, as that is recorded.

    What the arrival's own document says of it was recorded when the version was learned for it, and
    counts for nothing where somebody else had it learned meanwhile.
    """
    plan_of(work.registry, work.home, work.arrival)  # refuses another task of its name
    sequence = work.arrival.sequence
    desk = opened(work.registry, acting(work.registry)).desk
    verdict = judge(desk, sequence, version)
    allowed = str(work.registry.sequence(sequence).settings["promotion"])
    for line in promote_as_allowed(desk, sequence, version, verdict, allowed):
        work.telling.say(f"  {line}")


@contextmanager
def _running(work: Work, stages: StageProcess) -> Iterator[None]:
    """Open what the corridor needs beside the child."""
    home, registry = work.home, work.registry
    plan = plan_of(registry, home, work.arrival)
    who = acting(registry)
    allow(who, "file")
    may_promote = sender_of_arrival_may_promote(registry, work.arrival)
    if not may_promote:
        refuse_free_plan(registry, plan)  # before anything heavy
    position = [task.name for task in plan.config.tasks].index(work.arrival.task) + 1
    stages.ready_for(plan.config.tasks[position - 1].resources)
    base = inspect_base(plan, home, [position], stages)
    declare(registry, plan, base, may_promote=may_promote)
    warm()  # the child trains now, and filing needs it
    desk = opened(registry, who).desk
    with work.telling as narrator:
        run = Running(home, plan, base, registry, desk, stages, narrator)
        with as_running(run):
            yield
