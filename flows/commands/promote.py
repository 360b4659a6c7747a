"""`lori promote`, `approve`, `reject`, `rollback`: what serves, and on whose word."""

from typing import TYPE_CHECKING

import click

from flows.commands.options import as_json, parse_expect, with_expect, with_reason

if TYPE_CHECKING:
    from registry.decisions import Alias, Promotion


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
    from registry.clock import now

    named, expected = parse_name(version), parse_expect(expect)
    alias: Alias = "champion" if to == "champion" else "candidate"
    with at_desk() as here:
        before = here.desk.served(named.sequence, alias, now()).promotion
        made = here.desk.promote(
            named.sequence,
            asked_version(here.desk, named),
            reason=reason,
            to=alias,
            expect=expected,
        )
        _tell(made, json_, before)
        if here.registry is not None and not json_:
            click.echo(last_verified(here.registry, made.sequence, made.to_version))
        if made.status != "applied":
            raise CheckFailed(
                "approval",
                f"{made.sequence}/{made.to_version} {made.detail or 'waits'} "
                f"Next, by that person: lori approve {made.id} --reason TEXT",
            )


@click.command()
@click.argument("promotion", type=click.IntRange(min=1))
@with_reason
@as_json
def approve(promotion: int, reason: str, json_: bool) -> None:
    """Approve the waiting PROMOTION (its id) of somebody else; it is applied at once."""
    from flows.desk import at_desk

    with at_desk() as here:
        _tell(here.desk.approve(promotion, reason=reason), json_)


@click.command()
@click.argument("promotion", type=click.IntRange(min=1))
@with_reason
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
    from registry.clock import now
    from registry.decisions import BARE_BASE

    if base and to_version is not None:
        raise click.UsageError("--base and --to-version exclude each other.")
    name, expected = parse_sequence(sequence), parse_expect(expect)
    with at_desk() as here:
        target = BARE_BASE if base else to_version
        before = here.desk.served(name, "champion", now()).promotion
        made = here.desk.rollback(name, reason=reason, to_version=target, expect=expected)
        _tell(made, json_, before)


def _tell(made: "Promotion", json_: bool, before: "Promotion | None" = None) -> None:
    """Say what became of a request; `before` is what had put there what served."""
    from flows.decided import already_line, promotion_json, promotion_line
    from flows.report import print_json

    already = before is not None and before.id == made.id
    if json_:
        print_json({**promotion_json(made), "already": already})
    else:
        click.echo(already_line(made) if already else promotion_line(made))
