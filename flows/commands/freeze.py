"""`lori freeze`, `lori thaw`: a time in which nothing is promoted."""

import click

from flows.commands.options import with_reason


@click.command()
@click.argument("sequence")
@click.option("--until", required=True, metavar="TIME", help="A time, or a span: 12h, 3d, 2w.")
@with_reason
def freeze(sequence: str, until: str, reason: str) -> None:
    """Let nothing of SEQUENCE be promoted until a time; a rollback still works."""
    from flows.desk import at_desk
    from flows.recorded import parse_sequence
    from flows.times import parse_until, shown
    from registry.clock import now

    name, end = parse_sequence(sequence), parse_until(until, now())
    with at_desk() as here:
        here.desk.freeze(name, end, reason)
        click.echo(f"{name} is frozen until {shown(end)}")


@click.command()
@click.argument("sequence")
@with_reason
def thaw(sequence: str, reason: str) -> None:
    """End the freeze of SEQUENCE."""
    from flows.desk import at_desk
    from flows.recorded import parse_sequence

    name = parse_sequence(sequence)
    with at_desk() as here:
        here.desk.thaw(name, reason)
        click.echo(f"{name} may be promoted again")
