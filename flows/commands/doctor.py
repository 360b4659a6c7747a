"""`lori doctor`: is the registry what MLflow and the files say it is?"""

import sys

import click

from flows.commands.options import as_json


@click.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@click.option("--connect", is_flag=True,
              help="Ask the Prefect and MLflow that the environment names: versions, rights, clock.")  # fmt: skip
@as_json
def doctor(repair: bool, connect: bool, json_: bool) -> None:
    """Look for half registrations, orphans, drifted aliases, changed files and broken logs.

    Exit code 1 while something is wrong; with --repair, while something is left that a person
    must mend. With --connect it looks at the servers instead, before anything is sent to them.
    """
    if connect:
        _connect(repair, json_)
        return
    from flows.desk import at_desk
    from flows.report import print_json
    from lori_core.errors import BadInput
    from registry import doctor as medicine
    from registry.decisions import Finding
    from registry.roles import allow
    from registry.wire import to_json

    with at_desk() as here:
        if here.registry is None or here.actor is None:
            raise BadInput(f"doctor at {here.place}", "the registry itself", "Run it there.")
        found = medicine.examine(here.registry)
        if repair:
            allow(here.actor, "repair")
            found = medicine.repair(here.registry, found)
        wrong = [each for each in found if not each.mended]
        if json_:
            print_json({"ok": not wrong, "findings": to_json(tuple[Finding, ...], tuple(found))})
        elif not found:
            click.echo("nothing is wrong")
        else:
            for each in found:
                state = "mended" if each.mended else "can be mended" if each.mendable else "WRONG"
                click.echo(f"{state}: {each.what} at {each.where}: {each.detail}")
                click.echo(f"  {each.remedy}")
        if wrong:
            if not repair and any(each.mendable for each in wrong):
                click.echo("`lori doctor --repair` mends what can be mended", err=True)
            sys.exit(1)


def _connect(repair: bool, json_: bool) -> None:
    """Print each answer as it comes: a server that is away takes its time."""
    from flows.connect import connect
    from flows.report import print_json
    from lori_core.errors import BadInput
    from registry.home import find_home
    from registry.probing import Answer
    from registry.wire import to_json

    if repair:
        raise BadInput("--connect --repair", "one of them", "A server is mended where it runs.")
    answers: list[Answer] = []
    for each in connect(find_home()):
        answers.append(each)
        if not json_:
            click.echo(
                f"{'ok' if each.ok else 'WRONG'}: {each.server} {each.question}: {each.detail}"
            )
            if not each.ok and each.remedy:
                click.echo(f"  {each.remedy}")
    ok = all(each.ok for each in answers)
    if json_:
        print_json({"ok": ok, "answers": to_json(tuple[Answer, ...], tuple(answers))})
    if not ok:
        sys.exit(1)
