"""Learn what is new in a sequence file: the whole of `lori run`."""

from pathlib import Path

from flows.checks import check_rows
from flows.edge import signals_end_this
from flows.plan import Plan, base_digest, read_plan
from flows.session import declare, learning
from registry.home import find_home
from registry.store import open_registry


def learn_file(file: Path) -> str:
    """Learn a sequence file; the sentence that says what was done comes back.

    Raises:
        BadInput: something is wrong with the file or what it names; nothing was changed.
    """
    home = find_home()
    plan = read_plan(file, home)
    done = learned_already(plan, home)
    total = len(plan.config.tasks)
    if done == total:
        names = ", ".join(task.name for task in plan.config.tasks)
        return f"{plan.name}: nothing to do. All {total} tasks ({names}) are learned. Home: {home}"
    positions = range(done + 1, total + 1)
    check_rows(plan, positions)
    with signals_end_this(), learning(plan, home, positions):
        from flows.learn_sequence import learn_sequence  # imports Prefect: after its server

        versions = learn_sequence(plan.name)
    made = ", ".join(f"{plan.name}/{version}" for version in versions)
    return f"{plan.name}: learned {made}. Home: {home}"


def learned_already(plan: Plan, home: Path) -> int:
    """How many tasks are learned and filed; refuses if any of them was changed since.

    Raises:
        SequenceChanged: names the part that was changed.
    """
    if not home.exists():
        return 0
    with open_registry(home) as registry:
        if registry.find_sequence(plan.name) is None:
            return 0
        versions = registry.versions(plan.name)
        filed = [each for each in versions if each.state == "registered"]
        if filed:
            declare(registry, plan, base_digest(plan.config.base, home))
        return len(filed)
