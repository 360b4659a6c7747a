"""`lori schedules` and `lori unschedule`: files that are submitted later, and taking that back."""

import click

from flows.commands.options import as_json


@click.command()
@as_json
def schedules(json_: bool) -> None:
    """List what is submitted later: at a time, again and again, or from a watched folder."""
    from rich.table import Table

    from flows.report import print_json, print_table
    from flows.scheduled import ScheduleFacts
    from flows.schedules import schedules as standing
    from flows.times import shown
    from registry.wire import to_json

    found = standing()
    if json_:
        print_json(to_json(tuple[ScheduleFacts, ...], found))
        return
    table = Table("slug", "when", "file or folder", "priority", "next", "last")
    for each in found:
        coming = "paused" if not each.active else shown(each.next) if each.next else "–"
        last = f"{shown(each.last)} {each.last_state}" if each.last else "–"
        table.add_row(each.slug, each.rule, each.path, str(each.priority), coming, last)
    print_table(table)


@click.command()
@click.argument("slug")
def unschedule(slug: str) -> None:
    """Take back what `lori schedules` lists as SLUG. What was submitted already stays."""
    from flows.schedules import unschedule as take_back

    take_back(slug)
    click.echo(f"{slug} is submitted no more")
