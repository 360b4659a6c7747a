"""`lori waive` and `lori waivers`: one rule of one version, set aside for a time by two persons."""

import click

from flows.commands.options import as_json, with_reason


@click.command()
@click.argument("version")
@click.argument("rule")
@with_reason
@click.option("--until", required=True, metavar="TIME", help="A time, or a span: 12h, 3d, 2w.")
def waive(version: str, rule: str, reason: str, until: str) -> None:
    """Ask that RULE (as `lori gate` names it) be set aside for VERSION; a second person approves."""
    from flows.desk import at_desk
    from flows.recorded import asked_version, parse_name
    from flows.times import parse_until, shown
    from lori_core.errors import BadInput
    from registry.clock import now

    named, end = parse_name(version), parse_until(until, now())
    with at_desk() as here:
        number = asked_version(here.desk, named)
        if number is None:
            raise BadInput(f"version {version!r}", f"one version, e.g. {named.sequence}/1")
        made = here.desk.waive(named.sequence, number, rule, reason, end)
        click.echo(
            f"waiver {made.id} of {made.rule} for {made.sequence}/{made.version}, until "
            f"{shown(made.expires)}, waits: `lori waivers approve {made.id} --reason TEXT` "
            f"by someone other than {made.requested_by}"
        )


@click.group()
def waivers() -> None:
    """List the waivers of a sequence, or approve one."""


@waivers.command(name="list")
@click.argument("sequence")
@as_json
def list_(sequence: str, json_: bool) -> None:
    """List the waivers of SEQUENCE, and which are in force."""
    from rich.table import Table

    from flows.desk import at_desk
    from flows.recorded import parse_sequence
    from flows.report import print_json, print_table
    from flows.times import shown
    from registry.clock import now
    from registry.decisions import Waiver
    from registry.wire import to_json

    name = parse_sequence(sequence)
    with at_desk() as here:
        found = here.desk.waivers(name)
        if json_:
            print_json(to_json(tuple[Waiver, ...], found))
            return
        table = Table()
        for column in ("id", "version", "rule", "by", "approved", "until", "state", "reason"):
            table.add_column(column, overflow="fold")
        for each in found:
            state = "waits" if each.approved_by is None else "in force"
            table.add_row(
                str(each.id), f"{each.sequence}/{each.version}", each.rule, each.requested_by,
                each.approved_by or "–", shown(each.expires),
                "over" if each.expires <= now() else state, each.reason,
            )  # fmt: skip
        print_table(table)


@waivers.command(name="approve")
@click.argument("waiver", type=click.IntRange(min=1))
@with_reason
def approve_(waiver: int, reason: str) -> None:
    """Put the WAIVER (its id) of somebody else in force."""
    from flows.desk import at_desk
    from flows.times import shown

    with at_desk() as here:
        made = here.desk.approve_waiver(waiver, reason)
        click.echo(
            f"{made.rule} is waived for {made.sequence}/{made.version} until {shown(made.expires)}"
        )
