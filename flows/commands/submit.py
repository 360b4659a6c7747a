"""`lori submit FILE`: queue what is new in a file, now, later, or whenever a file comes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.commands.options import as_json

if TYPE_CHECKING:
    from flows.submitting import Submitted

LARGEST = 2**31 - 1


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--at", metavar="TIME", help="Submit it once, then: ISO 8601, or from now: 90m, 12h.")
@click.option("--cron", metavar="EXPR", help='Submit it again and again, e.g. "0 2 * * *".')
@click.option("--timezone", default="UTC", show_default=True, help="Whose clock --cron goes by.")
@click.option("--every", metavar="SPAN", help="Submit it again and again: 15m, 12h; 1m at least.")
@click.option("--watch", metavar="FOLDER", type=click.Path(path_type=Path),
              help="Submit every file that is put into FOLDER.")  # fmt: skip
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
    timezone: str,
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
    if watch is not None:
        if file is not None or again:
            raise click.UsageError("--watch takes a FOLDER, no FILE and no --again.")
        _say(_watched(watch, priority), json_)
        return
    if file is None:
        raise click.UsageError("Missing argument 'FILE'.")
    if given:
        _say(_scheduled(file, at, cron, timezone, every, priority=priority, again=again), json_)
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
    timezone: str,
    every: str | None,
    *,
    priority: int,
    again: bool,
) -> str:
    from flows.schedules import schedule_at, schedule_cron, schedule_every
    from flows.times import parse_span, parse_until
    from registry.clock import now

    _refuse_server()
    if at is not None:
        return schedule_at(file, parse_until(at, now()), priority=priority, again=again)
    if cron is not None:
        return schedule_cron(file, cron, timezone, priority=priority, again=again)
    assert every is not None
    return schedule_every(file, parse_span(every), priority=priority, again=again)


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


def _say(slug: str, json_: bool) -> None:
    from flows.report import print_json

    if json_:
        print_json({"schedule": slug})
        return
    click.echo(slug)
    click.echo(f"`lori schedules` lists it, `lori unschedule {slug}` takes it back.", err=True)
