"""The verbs of the corridor: thin Prefect tasks. Each runs one stage and returns names and digests.

A step's result is kept by Prefect under the stage's content key, so that a killed run repeats
nothing that was finished; the stage's own folder holds the result too, for a run that was killed
between the two. What is kept is believed only while the files it names have their digests.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext

from flows.deciding import Verdict, judge, promote_as_allowed
from flows.filing import version_record
from flows.processes import myself
from flows.running import Running, running
from flows.snapshots import keep_rows as kept_rows
from flows.stage_protocol import RESULT, TRAINING, read_result
from lori_core.config import ResourcesConfig
from lori_core.digests import sha256_file


class Order(TypedDict):
    """What a step is asked to do: plain data, so that Prefect can show it."""

    stage: str
    """Which stage, as in `flows.stages.table`."""

    key: str
    """Its content key."""

    sequence: str

    task: str

    spec: dict[str, Any]
    """What the stage is told: names, paths and settings."""


Result = dict[str, Any]
"""What a stage found: its folder (relative to the home), the digests of its files, and facts."""

Step = Task[[Order], Result]


def content_key(_context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """The order's own key: nothing of this run, this process or this machine."""
    return str(parameters["order"]["key"])


def kept(work: Callable[[Order], Result]) -> Step:
    """The step that does this work, its result kept under the order's key."""
    name = work.__name__
    return task(
        name=name,
        task_run_name=f"{name}-{{order[task]}}",
        persist_result=True,
        cache_key_fn=content_key,
        result_serializer="json",
    )(work)


@kept
def calibrate(order: Order) -> Result:
    """Train every free entry of B densely, to see which ones matter (LoRI-D)."""
    return in_child(order)


@kept
def mask(order: Order) -> Result:
    """Choose the entries of B this task may write."""
    return in_child(order)


@kept
def train(order: Order) -> Result:
    """Train those entries alone (LoRI-S)."""
    return in_child(order)


@kept
def certify(order: Order) -> Result:
    """Hash and probe: prove what did not change for the tasks before."""
    return in_child(order)


@kept
def evaluate(order: Order) -> Result:
    """Score the cells of this version that no version before has measured."""
    return in_child(order)


@task(name="snapshot", task_run_name="snapshot-{order[task]}", cache_policy=NO_CACHE)
def snapshot(order: Order) -> dict[str, str]:
    """Keep the task's rows as they are now. Digests come back, by role."""
    return keep_rows(running(), order["spec"]["position"])


@task(name="file", task_run_name="file-{order[task]}", cache_policy=NO_CACHE)
def file(order: Order, calibrated: Result | None, trained: Result, certified: Result) -> int:
    """Put the version into the registry, once, whatever happens. Its number comes back."""
    run = running()
    run.narrator.begin(f"{order['task']}: file")
    position = order["spec"]["position"]
    record = version_record(run.plan, position, calibrated, trained, certified, run.home)
    folder = run.home / certified["folder"] / "version"
    filed = run.registry.file_version(record, folder)
    run.narrator.end(f"as {filed.sequence}/{filed.version}")
    return filed.version


@task(name="gate", task_run_name="gate-{order[task]}", cache_policy=NO_CACHE)
def gate(order: Order, version: int) -> Verdict:
    """Whether the version may be promoted, by the policy of its sequence. The report is recorded."""
    run = running()
    run.narrator.begin(f"{order['task']}: gate")
    verdict = judge(run.desk, order["sequence"], version)
    run.narrator.end("passed" if verdict.ok else "refused")
    return verdict


@task(name="promote", task_run_name="promote-{order[task]}", cache_policy=NO_CACHE)
def promote(order: Order, version: int, verdict: Verdict) -> None:
    """Promote as far as the sequence file allows, make the version the candidate, and say so."""
    run = running()
    allowed = run.plan.config.promotion
    for line in promote_as_allowed(run.desk, order["sequence"], version, verdict, allowed):
        run.narrator.say(f"  {line}")


def tidy(result: Result) -> None:
    """Drop the files of a stage that nobody will ask for again: its task is filed."""
    for name in result["files"]:
        (running().home / result["folder"] / name).unlink(missing_ok=True)


def keep_rows(run: Running, position: int) -> dict[str, str]:
    """Have the snapshot of a task's rows; their digests must be those the plan was made with.

    Raises:
        DigestMismatch: rows changed since the run began.
    """
    folder = run.plan.data_folder(run.home, position)
    task = run.plan.config.tasks[position - 1]
    return kept_rows(task, run.plan.data[position - 1], folder)


def done(step: Step, order: Order) -> Result:
    """The step's result: kept from before if its files are still what they were, else made now."""
    result = step(order)
    if not _intact(running().home, result):
        result = step.with_options(refresh_cache=True)(order)
    return result


def in_child(order: Order) -> Result:
    """Run a stage in the training child, or find that it was finished before a kill."""
    run = running()
    stage, key = order["stage"], order["key"]
    folder = run.folder(stage, key)
    if (folder / RESULT).is_file():
        kept = _located(run.home, folder, read_result(folder))
        if _intact(run.home, kept):  # killed after the stage, before Prefect kept its result
            run.registry.stage_finished(key, detail={"folder": folder.name})
            return kept
    me = myself("run")
    run.registry.stage_started(
        key,
        stage=stage,
        sequence=order["sequence"],
        task=order["task"],
        pid=me.pid,
        process_started=me.started,
    )
    run.narrator.begin(f"{order['task']}: {stage}")
    finished = False
    try:
        facts = run.stages.run(stage, folder, order["spec"], run.narrator.progress, _needs(order))
        finished = True
    finally:
        run.narrator.end("" if finished else "stopped")
        run.registry.stage_finished(key, failed=not finished, detail={"folder": folder.name})
    return _located(run.home, folder, facts)


def _needs(order: Order) -> ResourcesConfig | None:
    """What a stage that trains needs; the others take the processes that run."""
    if order["stage"] not in TRAINING:
        return None
    position: int = order["spec"]["position"]
    return running().plan.config.tasks[position - 1].resources


def _located(home: Path, folder: Path, facts: Result) -> Result:
    """What a stage found, with the place of its files."""
    return {**facts, "folder": str(folder.relative_to(home))}


def _intact(home: Path, result: Result) -> bool:
    """Whether every file a result names is there with the digest it was given."""
    files: dict[str, str] = result["files"]
    folder = home / result["folder"]
    return all(
        (folder / name).is_file() and sha256_file(folder / name) == digest
        for name, digest in files.items()
    )
