"""`lori versions S`: what was filed, what serves, what the gate said."""

import click

from flows.commands.options import as_json


@click.command()
@click.argument("sequence")
@as_json
def versions(sequence: str, json_: bool) -> None:
    """List the versions of SEQUENCE: digests, certificates, gate, what serves.

    `S/3` and `S@champion` show one.
    """
    from dashboard.figures import versions_json
    from flows.decided import frozen_line, standing_json, standings
    from flows.desk import at_desk
    from flows.recorded import asked_version, parse_name
    from flows.report import print_json, print_table, versions_table
    from lori_core.errors import BadInput, NotFound
    from registry.decisions import BARE_BASE

    named = parse_name(sequence)
    with at_desk() as here:
        found = here.readers.versions(named.sequence)
        wanted = asked_version(here.desk, named)
        if wanted == BARE_BASE:
            raise BadInput(f"{named} is the bare base", "a version with an adapter")
        if wanted is not None:
            found = tuple(each for each in found if each.version == wanted)
            if not found:
                raise NotFound(
                    f"version {named.sequence}/{wanted}",
                    "a version of the sequence",
                    f"`lori versions {named.sequence}` lists them.",
                )
        decided = standings(here, named.sequence, [each.version for each in found])
        if json_:
            rows = zip(versions_json(found), found, strict=True)
            print_json([{**row, **standing_json(decided[each.version])} for row, each in rows])
        else:
            print_table(versions_table(found, decided))
            if (frozen := here.desk.frozen(named.sequence)) is not None:
                click.echo(frozen_line(frozen))
