"""`lori retire S TASK`: a task that is no longer to serve."""

import click

from flows.commands.options import with_reason


@click.command()
@click.argument("sequence")
@click.argument("task")
@with_reason
def retire(sequence: str, task: str, reason: str) -> None:
    """Say that TASK of SEQUENCE serves no more; its entries stay for the tasks that inherit them."""
    from flows.desk import at_desk
    from flows.recorded import parse_sequence

    name = parse_sequence(sequence)
    with at_desk() as here:
        here.desk.retire(name, task, reason)
        click.echo(f"{task} of {name} is retired")
