"""Learn what is new in a sequence file: the whole of `lori run`."""

from pathlib import Path
from signal import SIGTERM

from flows.checks import audited, check_rows
from flows.deciding import judge, promote_as_allowed, undecided
from flows.edge import Terminated, signals_end_this
from flows.free_hand import refuse_free_run
from flows.plan import Plan, base_digest, read_plan
from flows.prior_run import only_run
from flows.room import HomeOfARun
from flows.session import declare, declared, learning
from flows.settings_changed import changed_settings
from flows.succession import refuse_to_learn_retired
from lori_core.errors import BadInput, RowsChanged
from registry.arrival_records import OUT
from registry.arrivals import Arrivals
from registry.desks import Decisions, acting, opened, refuse_unless_allowed
from registry.home import find_home
from registry.roles import may
from registry.store import Registry, open_registry, registry_exists

PATIENCE_SECONDS = 5.0
"""What Prefect gets to tell its server that the run was stopped."""


def learn_file(file: Path) -> str:
    """Learn a sequence file; the sentence that says what was done comes back.

    Raises:
        BadInput: something is wrong with the file or what it names; nothing was changed.
        CheckFailed: who acts may not file.
    """
    home = find_home()
    with HomeOfARun(home) as place:
        plan = read_plan(file, home)
        refuse_unless_allowed(home, "file")
        refuse_while_out(home, plan.name)
        refuse_free_run(plan, home)
        done = learned_already(plan, home)
        total = len(plan.config.tasks)
        if done == total:
            return _nothing_to_do(plan, home)
        positions = range(done + 1, total + 1)
        refuse_to_learn_retired(plan, home, positions)
        check_rows(plan, positions)
        with (
            signals_end_this(lambda: _kept(plan, home)) as stops,
            learning(plan, home, positions, place),
        ):
            from prefect.exceptions import TerminationSignal  # after its server

            from flows.learn_sequence import learn_sequence

            with stops.passing_within(PATIENCE_SECONDS):
                try:
                    versions = learn_sequence(plan.name)
                except TerminationSignal as stop:  # it came between two flows: Prefect had it
                    raise Terminated(128 + SIGTERM) from stop
    made = ", ".join(f"{plan.name}/{version}" for version in versions)
    return f"{plan.name}: learned {made}. Home: {home}"


def refuse_while_out(home: Path, sequence: str) -> None:
    """Raise BadInput while a worker has the turn of a sequence."""
    if not (home.is_dir() and registry_exists(home)):
        return
    with open_registry(home) as registry:
        for arrival in Arrivals(registry).arrivals(sequence, states=OUT):
            raise BadInput(
                f"sequence {sequence!r}: a worker learns arrival {arrival.id} ({arrival.task}) of it",
                "one run of a sequence at a time",
                "`lori submit` queues the file behind it; `lori status` says how far it is.",
            )


def learned_already(plan: Plan, home: Path) -> int:
    """How many tasks are learned and filed; refuses if any of them was changed since.

    Nothing is written.

    Raises:
        SequenceChanged: names the part that was changed.
    """
    if not home.exists() or not registry_exists(home):
        return 0
    with open_registry(home) as registry:
        if registry.find_sequence(plan.name) is None:
            return 0
        versions = registry.versions(plan.name)
        filed = [each for each in versions if each.state == "registered"]
        if filed:
            try:
                registry.refuse_changes(*declared(plan, base_digest(plan.config.base, home)))
            except RowsChanged as changed:
                raise _with_its_fault(plan, changed) from None
        return len(filed)


def _nothing_to_do(plan: Plan, home: Path) -> str:
    """Every task is learned; what may change (guards, gate, promotion) is recorded.

    A version that was filed and not decided on, because that run was killed, is decided on now.
    """
    with open_registry(home) as registry:
        changed = changed_settings(registry, plan)
        who = acting(registry)
        base = base_digest(plan.config.base, home)
        declare(registry, plan, base, may_promote=may(who, "promote"))
        told = [] if changed is None else [changed]
        desk = opened(registry, who).desk
        if undecided(registry, desk, plan.name) is not None:
            with only_run(home, plan.name):
                told += _decided(registry, desk, plan)
    names = ", ".join(task.name for task in plan.config.tasks)
    told.append(f"{plan.name}: nothing to do, every task is learned ({names}). Home: {home}")
    return "\n".join(told)


def _decided(registry: Registry, desk: Decisions, plan: Plan) -> list[str]:
    version = undecided(registry, desk, plan.name)  # again: the run before us may just have ended
    if version is None:
        return []
    verdict = judge(desk, plan.name, version)
    return promote_as_allowed(desk, plan.name, version, verdict, plan.config.promotion)


def _with_its_fault(plan: Plan, changed: RowsChanged) -> BadInput:
    """Say too what is wrong with the new rows: it tells what happened to them."""
    task = next(each for each in plan.config.tasks if each.name == changed.task)
    for fault in audited(task)[1].errors:
        found = f"{changed.what}; with them, {fault.what}"
        return BadInput(found, changed.expected, changed.remedy)
    return changed


def _kept(plan: Plan, home: Path) -> str:
    """What a stopped run leaves, and how to go on."""
    if not home.exists() or not registry_exists(home):
        return "Stopped. Nothing was learned yet and nothing is kept."
    with open_registry(home) as registry:
        versions = [v for v in registry.versions(plan.name) if v.state == "registered"]
        stages = {s.key for s in registry.stages(plan.name) if s.state == "finished"}
    names = ", ".join(f"{plan.name}/{version.version}" for version in versions)
    return (
        f"Stopped. Kept: {f'{names}, ' if names else ''}finished stages ({len(stages)}) and the "
        f"last checkpoint. The same command goes on from there. Home: {home}"
    )
