"""`lori webhooks`: who is told of decisions, and sending what waits."""

from typing import TYPE_CHECKING

import click

from flows.commands.options import as_json

if TYPE_CHECKING:
    from registry.desks import Opened
    from registry.store import Registry


@click.group()
def webhooks() -> None:
    """Tell other programs of promotions, rollbacks and freezes, by signed messages."""


@webhooks.command()
@click.argument("name")
@click.argument("url")
@click.option("--kind", "kinds", multiple=True, help="A kind of entry to tell of. Default: every.")
def add(name: str, url: str, kinds: tuple[str, ...]) -> None:
    """Tell URL of decisions from now on; prints the secret its messages are signed with."""
    from flows.desk import at_desk

    with at_desk() as here:
        made = here.webhooks.add_webhook(name, url, kinds=kinds)
        click.echo(made.secret)
        click.echo(f"the secret of {name}, shown this once", err=True)


@webhooks.command(name="list")
@as_json
def list_(json_: bool) -> None:
    """List who is told, and what waits to be sent."""
    from rich.table import Table

    from flows.desk import at_desk
    from flows.report import print_json, print_table
    from flows.times import shown
    from registry.outbox import Delivery, Webhook
    from registry.settings import without_password
    from registry.wire import to_json

    with at_desk() as here:
        found, waiting = here.webhooks.webhooks(), here.webhooks.undelivered()
        if json_:
            print_json(
                {
                    "webhooks": to_json(tuple[Webhook, ...], found),
                    "waiting": to_json(tuple[Delivery, ...], waiting),
                }
            )
            return
        table = Table("name", "url", "kinds", "since", "waiting", "last error")
        for each in found:
            mine = [delivery for delivery in waiting if delivery.webhook == each.name]
            errors = [delivery.last_error for delivery in mine if delivery.last_error]
            table.add_row(
                each.name, without_password(each.url), ", ".join(each.kinds) or "every", shown(each.created),
                str(len(mine)), errors[-1] if errors else "–",
            )  # fmt: skip
        print_table(table)


@webhooks.command()
@click.argument("name")
def remove(name: str) -> None:
    """Tell NAME nothing more, not even what still waits."""
    from flows.desk import at_desk

    with at_desk() as here:
        here.webhooks.remove_webhook(name)
        click.echo(f"{name} is told nothing more")


@webhooks.command()
@as_json
def deliver(json_: bool) -> None:
    """Send what is due, once (`lori dashboard` does it by itself). Exit code 1 when some is left."""
    from flows.desk import at_desk
    from flows.report import print_json
    from lori_core.errors import CheckFailed
    from registry import outbox
    from registry.wire import to_json

    with at_desk() as here:
        sent = outbox.deliver(_registry(here))
        failed = [each for each in sent if each.delivered is None]
        if json_:
            print_json(to_json(tuple[outbox.Delivery, ...], sent))
        else:
            click.echo(f"{len(sent) - len(failed)} delivered, {len(failed)} to be sent again")
        if failed:
            raise CheckFailed(f"webhook {failed[0].webhook}", failed[0].last_error or "no answer")


def _registry(here: "Opened") -> "Registry":
    """The registry itself, for who may send its messages.

    Raises:
        BadInput: it is a server's; its operator does this there.
        CheckFailed: the role does not allow it.
    """
    from lori_core.errors import BadInput
    from registry.roles import allow

    if here.registry is None or here.actor is None:
        raise BadInput(f"webhooks of {here.place}", "the registry itself", "Its server sends them.")
    allow(here.actor, "webhooks")
    return here.registry
