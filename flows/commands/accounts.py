"""`lori accounts`: who may act, and the tokens they act with."""

import sys
from typing import TYPE_CHECKING

import click

from flows.commands.options import as_json

if TYPE_CHECKING:
    from registry.accounts import Issued
    from registry.decisions import Role

RESTART = (
    "`lori up` runs for this home, and its worker may only read from now on: end it and start it again "
    "with LORI_TOKEN=<token of a trainer> (`lori accounts add machine --role trainer`, "
    "`lori accounts token machine`); what is queued waits until then"
)
ROLES = ("viewer", "trainer", "reviewer", "promoter", "admin")


@click.group()
def accounts() -> None:
    """Make and disable accounts of a registry, and the tokens (LORI_TOKEN) they act with."""


@accounts.command()
@click.argument("name")
@click.option(
    "--password", "with_password", is_flag=True, help="Ask for a password too, for the pages."
)
def first(name: str, with_password: bool) -> None:
    """Make the first account, an admin called NAME, and print a token of its.

    The home and its registry are made where they are not there yet: accounts may come first.
    """
    from flows.desk import at_desk
    from lori_core.errors import CheckFailed
    from lori_core.names import check_name
    from registry.accounts import Accounts, admin_exists, owner
    from registry.known_services import is_up

    check_name("account", name)  # before a home is made for it
    with at_desk(make=True) as here:
        book = here.accounts
        if here.registry is not None:
            if admin_exists(here.registry):
                raise CheckFailed("accounts", "an admin is there already; he adds others")
            book = Accounts(here.registry, owner())  # nobody could have a token for this
        elif there := book.accounts():
            raise CheckFailed("accounts", f"{there[0].name} is there already; an admin adds others")
        chosen = _checked(ask_password()) if with_password else None
        book.create(name, "admin")
        if chosen is not None:
            book.set_password(name, chosen)
        _tell(book.issue(name, "first"))
        if here.registry is not None and is_up(here.registry.settings.home):
            click.echo(RESTART, err=True)


@accounts.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
def add(name: str, role: str) -> None:
    """Make an account NAME."""
    from flows.desk import at_desk

    with at_desk() as here:
        made = here.accounts.create(name, _role(role))
        click.echo(
            f"{made.name} has the role {made.role}; `lori accounts token {made.name}` makes a token"
        )


@accounts.command(name="list")
@as_json
def list_(json_: bool) -> None:
    """List the accounts, disabled ones too."""
    from rich.table import Table

    from flows.desk import at_desk
    from flows.report import print_json, print_table
    from flows.times import shown
    from registry.decisions import Account
    from registry.wire import to_json

    with at_desk() as here:
        found = here.accounts.accounts()
        if json_:
            print_json(to_json(tuple[Account, ...], found))
            return
        table = Table("name", "role", "state", "created", "made by", "password by")
        for each in found:
            state = "disabled" if each.disabled else "active"
            table.add_row(
                each.name, each.role, state, shown(each.created), each.made_by or "–",
                each.password_by or "–",
            )  # fmt: skip
        print_table(table)


@accounts.command()
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
def role(name: str, role: str) -> None:
    """Give the account NAME another ROLE."""
    from flows.desk import at_desk

    with at_desk() as here:
        made = here.accounts.change_role(name, _role(role))
        click.echo(f"{made.name} has the role {made.role}")


@accounts.command()
@click.argument("name")
@click.option("--own", is_flag=True, help="Ask for the current one first: to change your own.")
def password(name: str, own: bool) -> None:
    """Set the password NAME signs in at the pages with: asked for, or one line on stdin.

    Where somebody is signed in by the old one, he is no more. Anybody may change his own (--own; on
    stdin the current one is the first line, the new one the second).
    """
    from flows.desk import at_desk

    with at_desk() as here:
        current = ask_password("Current password", twice=False) if own else None
        made = here.accounts.set_password(name, ask_password(), current)
        click.echo(f"{made.name} signs in by the new password")


@accounts.command()
@click.argument("name")
def disable(name: str) -> None:
    """Shut the account NAME out, with all its tokens."""
    from flows.desk import at_desk

    with at_desk() as here:
        click.echo(f"{here.accounts.disable(name).name} is disabled")


@accounts.command()
@click.argument("name")
def enable(name: str) -> None:
    """Let the account NAME in again, with its tokens."""
    from flows.desk import at_desk

    with at_desk() as here:
        click.echo(f"{here.accounts.enable(name).name} is active")


@accounts.command()
@click.argument("name")
@click.option("--label", default="command line", show_default=True, help="What it is for.")
@click.option("--until", metavar="TIME", help="When it ends: a time, or a span (12h, 30d).")
def token(name: str, label: str, until: str | None) -> None:
    """Make a token for the account NAME and print it, this once."""
    from flows.desk import at_desk
    from flows.times import parse_until
    from registry.clock import now

    end = None if until is None else parse_until(until, now())
    with at_desk() as here:
        _tell(here.accounts.issue(name, label, end))


@accounts.command()
@click.argument("name")
@as_json
def tokens(name: str, json_: bool) -> None:
    """List the tokens of the account NAME; never their text."""
    from rich.table import Table

    from flows.desk import at_desk
    from flows.report import print_json, print_table
    from flows.times import shown
    from registry.accounts import Token
    from registry.wire import to_json

    with at_desk() as here:
        found = here.accounts.tokens(name)
        if json_:
            print_json(to_json(tuple[Token, ...], found))
            return
        table = Table("id", "label", "created", "made by", "ends", "revoked")
        for each in found:
            table.add_row(
                str(each.id), each.label, shown(each.created), each.made_by or "–",
                shown(each.expires), shown(each.revoked),
            )  # fmt: skip
        print_table(table)


@accounts.command()
@click.argument("token", type=click.IntRange(min=1))
def revoke(token: int) -> None:
    """End the TOKEN with this id at once."""
    from flows.desk import at_desk

    with at_desk() as here:
        click.echo(f"token {here.accounts.revoke(token).id} is revoked")


def ask_password(what: str = "Password", *, twice: bool = True) -> str:
    """The password: asked for (twice) at a terminal, else the next line of stdin."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _checked(password: str) -> str:
    """A password that will do: found out before an account is made for it."""
    from registry.passwords import check_password

    check_password(password)
    return password


def _role(text: str) -> "Role":
    from registry.roles import ROLES as KNOWN

    return next(role for role in KNOWN if role == text)


def _tell(issued: "Issued") -> None:
    """The secret alone on stdout, so that it can be piped; what it is on stderr."""
    click.echo(issued.secret)
    click.echo(
        f"token {issued.token.id} of {issued.token.account}, shown this once: set LORI_TOKEN to it",
        err=True,
    )
