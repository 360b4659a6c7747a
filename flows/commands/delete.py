"""`lori delete S/K`: a version that nothing needs, taken out of the registry."""

import click

from flows.commands.options import with_reason


@click.command()
@click.argument("version")
@with_reason
def delete(version: str, reason: str) -> None:
    """Delete VERSION (`S/3`) with its files, if it is the newest and nothing needs it.

    Exit code 1 says what needs it: that it served or may soon, a later version, a server. The log
    keeps that it was there.
    """
    from flows.desk import at_desk
    from flows.recorded import parse_name
    from lori_core.errors import BadInput
    from registry.retention import delete_version

    named = parse_name(version)
    if named.version is None:
        raise BadInput(f"version {version!r}", f"one version by number, e.g. {named.sequence}/1")
    with at_desk() as here:
        if here.registry is None or here.actor is None:
            raise BadInput(f"delete at {here.place}", "the registry itself", "Run it there.")
        gone = delete_version(
            here.registry, named.sequence, named.version, actor=here.actor, reason=reason
        )
        click.echo(f"{gone.sequence}/{gone.version} (task {gone.task}) is deleted")
