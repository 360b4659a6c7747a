"""A run from lock to shutdown: the children it starts, what it checks, and what it leaves behind."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows.collecting import collecting_seldom
from flows.free_hand import refuse_free_plan
from flows.plan import Plan, remember_base
from flows.prefect_server import flush_events, log_to_file, prefect_server
from flows.prior_run import only_run
from flows.progress import Narrator
from flows.room import FullDiskTold, HomeOfARun, require_room
from flows.running import Running, as_running
from flows.settings_changed import changed_settings
from flows.stage_process import StageProcess
from lori_core.sequence_file import sequence_to_json
from registry.desks import acting, opened
from registry.records import SequenceRecord, TaskRecord
from registry.roles import allow, may
from registry.store import Registry, open_registry
from registry.warming import warm


@contextmanager
def learning(
    plan: Plan, home: Path, positions: Sequence[int], place: HomeOfARun
) -> Iterator[Running]:
    """Open everything a run needs; everything it started is ended when the block is left.

    The training child looks at the base while Prefect's server starts (after it, in a home that
    has none yet and must stay so if the base is refused); only when nothing is wrong are the
    sequence and its tasks declared.

    Args:
        plan: the sequence file, read.
        home: where it is learned.
        positions: of the tasks that are to be learned.
        place: the home, told once the run is accepted.

    Raises:
        BadInput, SequenceChanged: as the checks find.
        CheckFailed: the account of `LORI_TOKEN` may not file.
    """
    with ExitStack() as stack:
        stack.enter_context(collecting_seldom())  # the child trains; we import much and wait
        place.prepare()
        stack.enter_context(FullDiskTold(home))
        record = stack.enter_context(only_run(home, plan.name))
        stages = stack.enter_context(StageProcess(home, plan.name, record.add))
        stages.start(plan.config.tasks[positions[0] - 1].resources)
        if place.fresh or (home / "prefect").exists():
            ready = stack.enter_context(prefect_server(home, record.add))
            base = inspect_base(plan, home, positions, stages)
        else:
            base = inspect_base(plan, home, positions, stages)
            ready = stack.enter_context(prefect_server(home, record.add))
        place.accept()
        registry = stack.enter_context(open_registry(home))
        who = acting(registry)
        allow(who, "file")
        desk = opened(registry, who).desk
        changed = changed_settings(registry, plan)
        declare(registry, plan, base, may_promote=may(who, "promote"))
        narrator = stack.enter_context(Narrator())
        narrator.say(f"home {home}")
        if changed is not None:
            narrator.say(changed)
        ready()
        run = Running(home, plan, base, registry, desk, stages, narrator)
        stack.enter_context(as_running(run))
        stack.enter_context(_prefect_quiet(home))
        warm()  # the child trains now, and filing needs it
        yield run


def declare(registry: Registry, plan: Plan, base: str, *, may_promote: bool) -> None:
    """Record the sequence and its tasks, or find that a learned part was changed.

    Args:
        registry: where.
        plan: the sequence and its tasks.
        base: digest of the base.
        may_promote: whether he may on whose word it is learned.

    Raises:
        SequenceChanged: names the part.
        BadInput: it would change what decides what serves, on the word of who may not promote.
    """
    if not may_promote:
        refuse_free_plan(registry, plan)
    sequence, tasks = declared(plan, base)
    registry.refuse_changes(sequence, tasks)  # all of them before anything is written
    registry.declare_sequence(sequence)
    for task in tasks:
        registry.declare_task(plan.name, task)


def declared(plan: Plan, base: str) -> tuple[SequenceRecord, list[TaskRecord]]:
    """The sequence and its tasks as the registry knows them."""
    positions = range(1, len(plan.config.tasks) + 1)
    return plan.sequence_record(base), [plan.task_record(position) for position in positions]


def inspect_base(plan: Plan, home: Path, positions: Sequence[int], stages: StageProcess) -> str:
    """Check what needs the base; its digest comes back."""
    spec = {
        "sequence": sequence_to_json(plan.config),
        "positions": list(positions),
        "metric_folder": str(plan.file.absolute().parent),
    }
    with tempfile.TemporaryDirectory(prefix="lori-") as folder:
        found = stages.run("inspect", Path(folder), spec, lambda progress: None)
    require_room(home, found["entries"])
    remember_base(plan.config.base, home, found["base"])
    return str(found["base"])


@contextmanager
def _prefect_quiet(home: Path) -> Iterator[None]:
    """Prefect without heartbeats (a second for each flow) and without a word on stderr."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    log_to_file(home / "logs" / "prefect.log")
    with temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
    flush_events()
