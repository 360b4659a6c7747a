"""`lori promote`, `approve`, `reject`, `rollback`: what serves, and on whose word."""

from typing import TYPE_CHECKING

import click

from flows.commands.options import as_json, parse_expect, with_expect, with_reason

if TYPE_CHECKING:
    from registry.decisions import Promotion


@click.command()
@click.argument("version")
@with_reason
@click.option("--to", type=click.Choice(("champion", "candidate")), default="champion")
@with_expect
@as_json
def promote(version: str, reason: str, to: str, expect: str | None, json_: bool) -> None:
    """Make VERSION (`S` for the newest) what serves, if the gate lets it pass.

    Exit code 1 when the gate or a moved champion refuses, or while a second person must approve.
    """
    from flows.desk import at_desk
    from flows.recorded import asked_version, parse_name
    from flows.verified import last_verified
    from lori_core.errors import CheckFailed

    named, expected = parse_name(version), parse_expect(expect)
    with at_desk() as here:
        made = here.desk.promote(
            named.sequence,
            asked_version(here.desk, named),
            reason=reason,
            to="champion" if to == "champion" else "candidate",
            expect=expected,
        )
        _tell(made, json_)
        if here.registry is not None and not json_:
            click.echo(last_verified(here.registry, made.sequence, made.to_version))
        if made.status != "applied":
            raise CheckFailed(
                "approval",
                f"{made.sequence}/{made.to_version} {made.detail or 'waits'} "
                f"Next, by that person: lori approve {made.id}",
            )


@click.command()
@click.argument("promotion", type=click.IntRange(min=1))
@click.option("--reason", default="approved", show_default=True, help="Why; the log keeps it.")
@as_json
def approve(promotion: int, reason: str, json_: bool) -> None:
    """Approve the waiting PROMOTION (its id) of somebody else; it is applied at once."""
    from flows.desk import at_desk

    with at_desk() as here:
        _tell(here.desk.approve(promotion, reason=reason), json_)


@click.command()
@click.argument("promotion", type=click.IntRange(min=1))
@click.option("--reason", default="rejected", show_default=True, help="Why; the log keeps it.")
@as_json
def reject(promotion: int, reason: str, json_: bool) -> None:
    """Turn the waiting PROMOTION (its id) down; nothing that serves changes."""
    from flows.desk import at_desk

    with at_desk() as here:
        _tell(here.desk.reject(promotion, reason=reason), json_)


@click.command()
@click.argument("sequence")
@click.option("--to-version", type=click.IntRange(min=1), help="Default: the champion before.")
@click.option("--base", is_flag=True, help="Serve the bare base, without any adapter.")
@with_reason
@with_expect
@as_json
def rollback(
    sequence: str,
    to_version: int | None,
    base: bool,
    reason: str,
    expect: str | None,
    json_: bool,
) -> None:
    """Go back to the champion before (or an older one) now: no gate, no freeze stands in the way."""
    from flows.desk import at_desk
    from flows.recorded import parse_sequence
    from registry.decisions import BARE_BASE

    if base and to_version is not None:
        raise click.UsageError("--base and --to-version exclude each other.")
    name, expected = parse_sequence(sequence), parse_expect(expect)
    with at_desk() as here:
        target = BARE_BASE if base else to_version
        made = here.desk.rollback(name, reason=reason, to_version=target, expect=expected)
        _tell(made, json_)


def _tell(made: "Promotion", json_: bool) -> None:
    from flows.decided import promotion_json, promotion_line
    from flows.report import print_json

    if json_:
        print_json(promotion_json(made))
    else:
        click.echo(promotion_line(made))
