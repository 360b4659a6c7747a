"""`lori history S` and `lori pending`: what served when, on whose word, and what waits."""

import click

from flows.commands.options import as_json


@click.command()
@click.argument("sequence")
@click.option("--at", metavar="TIME", help="What served at this time.")
@click.option("--check", is_flag=True, help="Check the log's chain and its anchors.")
@as_json
def history(sequence: str, at: str | None, check: bool, json_: bool) -> None:
    """Show every promotion and rollback of the champion of SEQUENCE.

    What the alias designates stands beside what servers confirmed that they loaded. With --check,
    exit code 1 names the position of each entry that is not what was written.
    """
    from flows.decided import (
        confirmed_lines,
        history_json,
        promotions_table,
        served_lines,
    )
    from flows.desk import at_desk
    from flows.recorded import parse_sequence
    from flows.report import print_json, print_table
    from flows.times import parse_past
    from lori_core.errors import CheckFailed
    from registry.clock import now

    name = parse_sequence(sequence)
    when = None if at is None else parse_past(at, now())
    with at_desk() as here:
        moves = [each for each in here.desk.history(name, when) if each.alias == "champion"]
        then = when or now()
        said = [
            each
            for each in here.desk.confirmations(name)
            if max(each.loaded_at, each.told_at or each.loaded_at) <= then
        ]
        found = here.desk.check_history(name) if check else None
        if json_:
            print_json([history_json(each, said) for each in moves])
        else:
            print_table(promotions_table(moves))
        if found is not None and not found.ok:  # what served cannot be told from a broken log
            raise CheckFailed(f"log of {name}", "; ".join(found.faults))
        if not json_:
            served = here.desk.served(name, "champion", then)
            for line in (*served_lines(served), *confirmed_lines(said, served.version)):
                click.echo(line)
            if found is not None:
                click.echo(f"log: {found.length} entries, unbroken, head {found.head}")


@click.command()
@click.argument("sequence", required=False)
@as_json
def pending(sequence: str | None, json_: bool) -> None:
    """List the requests of all sequences (or of SEQUENCE) that wait for a second person."""
    from flows.decided import promotion_json, promotions_table
    from flows.desk import at_desk
    from flows.recorded import parse_sequence
    from flows.report import print_json, print_table

    name = None if sequence is None else parse_sequence(sequence)
    with at_desk() as here:
        waiting = here.desk.pending(name)
        if json_:
            print_json([promotion_json(each) for each in waiting])
        elif waiting:
            print_table(promotions_table(waiting))
            click.echo(
                "`lori approve ID --reason TEXT` or `lori reject ID --reason TEXT`, by someone else"
                " than who asked"
            )
        else:
            click.echo("nothing waits")
