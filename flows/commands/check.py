"""`lori check FILE`: what would be learned, and what it would take."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.commands.options import FilePath, as_json, tell_home

if TYPE_CHECKING:
    from flows.plan import Plan
    from flows.survey import Survey, TaskSurvey
    from lori_core.config import Read


@click.command()
@click.argument("file", type=FilePath(path_type=Path))
@as_json
def check(file: Path, json_: bool) -> None:
    """Read FILE as `run` would and train nothing.

    Shows rendered rows with what is learned marked, what is cut or dropped, the steps of a phase, the
    audit of the rows, the capacity plan, and estimates of time and memory.
    """
    from flows.checks import check_rows
    from flows.learn_file import learned_already
    from flows.plan import read_plan
    from flows.progress import Narrator
    from flows.report import print_json
    from flows.room import HomeOfARun
    from registry.home import find_home

    home = find_home()
    with HomeOfARun(home), Narrator(quiet=True) as narrator:
        plan = read_plan(file, home)
        learned = learned_already(plan, home)
        check_rows(plan, range(1, len(plan.config.tasks) + 1))
        from flows.survey import survey  # torch: after what is cheap to check

        found = survey(plan, learned, narrator.say)
    if json_:
        print_json(survey_json(plan, found, learned))
    else:
        _print(plan, found, learned)
    tell_home(home)


def survey_json(plan: "Plan", found: "Survey", learned: int) -> dict[str, object]:
    """`lori check --json`."""
    return {
        "sequence": plan.name,
        "learned": learned,
        "tasks": [
            {
                **_task_json(task),
                "few_steps": few_steps(
                    task.steps, position, learned=learned, read=plan.config.adapter.read
                ),
            }
            for position, task in enumerate(found.tasks, start=1)
        ],
        "capacity": {
            "entries": found.capacity.total,
            "tasks": [
                {"budget": each.budget, "sparsity": each.sparsity, "free_after": each.free_after}
                for each in found.capacity.tasks
            ],
        },
        "estimate": {
            "seconds": found.seconds,
            "bytes": found.estimate.bytes,
            "training": dict(found.estimate.training),
            "evaluation": dict(found.estimate.evaluation),
        },
        "guard_rows": found.guard_rows,
        "gate": [
            {
                "rule": each.rule,
                "problem": each.problem,
                "why": each.why,
                "needed": dict(each.needed),
            }
            for each in found.gate
        ],
    }


def _task_json(task: "TaskSurvey") -> dict[str, object]:
    return {
        "task": task.name,
        "train": len(task.rows.train),
        "test": len(task.rows.test),
        "cut": task.encoded.cut,
        "dropped": len(task.encoded.dropped),
        "steps": task.steps,
        "labels": list(task.labels),
        "shown": [{"prompt": each.prompt, "learned": each.completion} for each in task.shown],
        "audit": [
            {"kind": each.kind, "what": each.what, "severity": each.severity, "count": each.count}
            for each in task.audit.findings
        ],
    }


def spoilt_lines(cut: int, dropped: int, rows: int) -> Iterator[str]:
    """What of the training rows does not fit in `max_length`: learned in part, or not at all."""
    if cut:
        yield f"  warning: {cut} of {rows} training rows are cut to fit in max_length"
    if dropped:
        yield f"  warning: {dropped} of {rows} training rows do not fit in max_length and are dropped"


FEW_STEPS = 100
"""Chosen between 57, where a task hardly learned past what it inherited, and 225, where it did
(docs/lab-notebook.md, Real classification)."""


def few_steps(steps: int, position: int, *, learned: int, read: "Read") -> bool:
    """Whether a task still to be learned starts from what others wrote, with few steps to do it."""
    return steps < FEW_STEPS and position > max(1, learned) and read != "isolated"


def _print(plan: "Plan", found: "Survey", learned: int) -> None:
    """The same for people; what is learned stands in «marks»."""
    for task, planned in zip(found.tasks, found.capacity.tasks, strict=True):
        state = "learned already" if planned.position <= learned else "to be learned"
        click.secho(f"{planned.position} {task.name} ({state})", bold=True)
        dropped = len(task.encoded.dropped)
        click.echo(
            f"  rows: {len(task.rows.train)} train ({task.encoded.cut} cut, {dropped} dropped), "
            f"{len(task.rows.test)} test; each phase takes {task.steps} steps"
        )
        if few_steps(task.steps, planned.position, learned=learned, read=plan.config.adapter.read):
            click.echo(
                f"  note: {task.steps} steps are few to learn past what earlier tasks wrote; a smaller "
                "train_batch_size or more num_train_epochs gives more (docs/method.md, Which read)"
            )
        share = planned.budget / found.capacity.total
        click.echo(
            f"  capacity: {planned.budget} of {found.capacity.total} entries of B ({share:.1%}), "
            f"{planned.free_after} free after it"
        )
        for finding in task.audit.findings:
            click.echo(f"  {finding.severity}: {finding.what} (first: {finding.examples[0]})")
        for line in spoilt_lines(task.encoded.cut, dropped, len(task.rows.train)):
            click.echo(line)
        if not (task.audit.findings or task.encoded.cut or dropped):
            click.echo("  audit: nothing found")
        for example in task.shown:
            click.echo("  row " + example.id + ":")
            marked = click.style(f"«{example.completion}»", fg="green")
            for line in f"{example.prompt}{marked}".splitlines():
                click.echo(f"    {line}")
    kind = "a class of the encoder" if found.tasks[0].labels else "with the end token after it"
    click.echo(f"What is learned stands in «marks», {kind}.")
    if found.guard_rows is not None:
        guards = ", ".join(plan.config.guards)
        click.echo(
            f"The gate can bound a drop of {plan.config.gate.max_guard_drop:.0%} from "
            f"{found.guard_rows} test rows on (guards: {guards}), if no answer changes."
        )
    for odd in found.gate:
        click.secho(f"gate, {odd.rule} {odd.problem}: {odd.why}", fg="yellow")
    click.echo(
        f"Estimate: {found.seconds:.0f} s "
        f"({sum(found.estimate.training.values()):.0f} s training, "
        f"{sum(found.estimate.evaluation.values()):.0f} s evaluation), "
        f"{found.estimate.bytes / 1024**3:.1f} GiB of memory."
    )
