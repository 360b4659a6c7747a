"""`lori rows`: who may see prompts and answers on the pages, task by task."""

import click

from flows.commands.options import as_json, with_reason


@click.group()
def rows() -> None:
    """Let people see prompts and answers on the pages, or nobody; numbers are open to who may read."""


@rows.command()
@click.argument("account")
@click.argument("sequence")
@click.argument("task", required=False)
def allow(account: str, sequence: str, task: str | None) -> None:
    """Let ACCOUNT (or proxy:NAME) see the rows of TASK, or of all of SEQUENCE."""
    from flows.desk import at_desk

    with at_desk() as here:
        made = here.rows.allow_rows(account, sequence, task)
        click.echo(f"{made.account} sees the rows of {_whose(made.sequence, made.task)}")


@rows.command()
@click.argument("account")
@click.argument("sequence")
@click.argument("task", required=False)
def revoke(account: str, sequence: str, task: str | None) -> None:
    """Take a right back, as it was given: for TASK, or for all of SEQUENCE."""
    from flows.desk import at_desk

    with at_desk() as here:
        here.rows.revoke_rows(account, sequence, task)
        click.echo(f"{account} has no right of its own to the rows of {_whose(sequence, task)}")


@rows.command()
@click.argument("sequence")
@click.argument("task")
@with_reason
def hide(sequence: str, task: str, reason: str) -> None:
    """Let nobody see the rows of TASK, whatever his right."""
    from flows.desk import at_desk

    with at_desk() as here:
        here.rows.hide_rows(sequence, task, reason)
        click.echo(f"the rows of {task} of {sequence} are hidden from everybody")


@rows.command()
@click.argument("sequence")
@click.argument("task")
def unhide(sequence: str, task: str) -> None:
    """Let those see the rows of TASK again who have the right."""
    from flows.desk import at_desk

    with at_desk() as here:
        here.rows.unhide_rows(sequence, task)
        click.echo(f"the rows of {task} of {sequence} are hidden no more")


@rows.command(name="list")
@as_json
def list_(json_: bool) -> None:
    """List who may see which rows, and which are hidden."""
    from rich.table import Table

    from flows.desk import at_desk
    from flows.report import print_json, print_table
    from flows.times import shown
    from registry.row_rights import HiddenRows, RowRight
    from registry.wire import to_json

    with at_desk() as here:
        allowed, hidden = here.rows.row_rights(), here.rows.hidden_rows()
        if json_:
            print_json(
                {
                    "allowed": to_json(tuple[RowRight, ...], allowed),
                    "hidden": to_json(tuple[HiddenRows, ...], hidden),
                }
            )
            return
        table = Table("who", "sequence", "task", "since", "by", "why")
        for right in allowed:
            table.add_row(
                right.account, right.sequence, right.task or "all", shown(right.created),
                right.made_by, "–",
            )  # fmt: skip
        for each in hidden:
            table.add_row(
                "nobody", each.sequence, each.task, shown(each.created), each.made_by, each.reason
            )
        print_table(table)


def _whose(sequence: str, task: str | None) -> str:
    return f"every task of {sequence}" if task is None else f"{task} of {sequence}"
