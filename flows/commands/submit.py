"""`lori submit FILE`: queue what is new in a file, now, later, or whenever a file comes."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.commands.options import FilePath, as_json

if TYPE_CHECKING:
    from flows.submitting import Submitted

LARGEST = 2**31 - 1


@click.command()
@click.argument("file", type=FilePath(path_type=Path), required=False)
@click.option(
    "--at",
    metavar="TIME",
    help="Submit it once, then: 22:00 or 22:00+01:00 (the next), ISO 8601, or from now: 90m, 12h.",
)
@click.option("--cron", metavar="EXPR", help='Submit it again and again, e.g. "0 2 * * *".')
@click.option("--timezone", show_default="UTC", help="Whose clock --cron goes by.")
@click.option("--every", metavar="SPAN", help="Submit it again and again: 15m, 12h; 1m at least.")
@click.option("--watch", metavar="FOLDER", type=FilePath(path_type=Path),
              help="Submit every .yaml, .yml and .json that is put into FOLDER; its rows must lie there, "
              "under LORI_SUBMIT_FROM, or beside the home.")  # fmt: skip
@click.option("--priority", type=click.IntRange(-LARGEST, LARGEST), default=0, show_default=True,
              help="Higher goes first within its sequence.")  # fmt: skip
@click.option(
    "--again", is_flag=True, help="Learn it again, under a new name, if it is there already."
)
@as_json
def submit(
    file: Path | None,
    at: str | None,
    cron: str | None,
    timezone: str | None,
    every: str | None,
    watch: Path | None,
    priority: int,
    again: bool,
    json_: bool,
) -> None:
    """Queue the new tasks of FILE; `lori up` or a `lori worker` learns each when its turn comes.

    FILE is a sequence file, or one task for a sequence that is known (`sequence: NAME`, `task: {...}`).
    It is checked and its rows are kept now: changing them later changes nothing. The same task twice
    is queued once.
    """
    named = {"--at": at, "--cron": cron, "--every": every, "--watch": watch}
    given = [option for option, value in named.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other.")
    if timezone is not None and cron is None:
        raise click.UsageError(
            "--timezone goes with --cron: nothing else here has a clock of its own."
        )
    if watch is not None:
        if file is not None or again:
            raise click.UsageError("--watch takes a FOLDER, no FILE and no --again.")
        _say(_watched(watch, priority), json_)
        return
    if file is None:
        raise click.UsageError("Missing argument 'FILE'.")
    if given:
        slug, when = _scheduled(file, at, cron, timezone, every, priority=priority, again=again)
        _say(slug, json_, when)
        return
    _submit_now(file, priority=priority, again=again, json_=json_)


def _submit_now(file: Path, *, priority: int, again: bool, json_: bool) -> None:
    from flows.edge import signals_end_this
    from flows.report import print_json
    from flows.submitting import outcome_line, submit
    from registry.home import find_home
    from registry.settings import registry_server

    home = find_home()
    with signals_end_this():
        found = submit(file, home, priority=priority, again=again)
    if json_:
        print_json(submitted_json(found))
        return
    for outcome in found.submission.outcome:
        click.echo(outcome_line(found, outcome))
    if found.submission.state == "received":
        click.echo(f"submission {found.submission.id} is received; nothing has prepared it yet")
    for note in found.notes:
        click.echo(note)
    if any(each.new for each in found.submission.outcome):
        click.echo(
            "`lori status` shows how far it is; `lori up` or `lori worker` learns it.", err=True
        )
    click.echo(f"{'registry' if registry_server() else 'home'} {found.place}", err=True)


def submitted_json(found: "Submitted") -> dict[str, object]:
    """`lori submit --json`."""
    arrivals = [(outcome, found.arrival(outcome)) for outcome in found.submission.outcome]
    return {
        "submission": found.submission.id,
        "state": found.submission.state,
        "sequence": found.sequence,
        "tasks": [
            {
                "task": outcome.task,
                "arrival": outcome.arrival,
                "state": "learned" if arrival is None else arrival.state,
                "version": outcome.version if arrival is None else arrival.version,
                "new": outcome.new,
            }
            for outcome, arrival in arrivals
        ],
        "notes": list(found.notes),
    }


def _scheduled(
    file: Path,
    at: str | None,
    cron: str | None,
    timezone: str | None,
    every: str | None,
    *,
    priority: int,
    again: bool,
) -> tuple[str, datetime | None]:
    """The slug; and the moment, where it is one."""
    from flows.schedules import schedule_at, schedule_cron, schedule_every
    from flows.times import parse_at, parse_span
    from registry.clock import now

    _refuse_server()
    if at is not None:
        when = parse_at(at, now())
        return schedule_at(file, when, priority=priority, again=again), when
    if cron is not None:
        return schedule_cron(file, cron, timezone or "UTC", priority=priority, again=again), None
    assert every is not None
    return schedule_every(file, parse_span(every), priority=priority, again=again), None


def _watched(folder: Path, priority: int) -> str:
    from flows.schedules import watch_folder
    from registry.store import open_registry

    _refuse_server()
    with open_registry() as registry:
        return watch_folder(registry, folder, priority)


def _refuse_server() -> None:
    from lori_core.errors import BadInput
    from registry.settings import registry_server

    if server := registry_server():
        raise BadInput(
            f"LORI_REGISTRY_URL={server}: files are scheduled and folders watched where they lie",
            "a registry of this machine",
            "Do it on the machine that learns.",
        )


def _say(slug: str, json_: bool, when: datetime | None = None) -> None:
    from flows.report import print_json
    from flows.times import shown
    from registry.clock import json_time

    if json_:
        moment = {} if when is None else {"at": json_time(when)}
        print_json({"schedule": slug, **moment})
        return
    click.echo(slug)
    if when is not None:
        click.echo(f"it is submitted at {shown(when)}", err=True)
    click.echo(f"`lori schedules` lists it, `lori unschedule {slug}` takes it back.", err=True)
