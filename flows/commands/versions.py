"""`lori versions S`: what was filed."""

import click

from flows.commands.options import as_json, tell_home


@click.command()
@click.argument("sequence")
@as_json
def versions(sequence: str, json_: bool) -> None:
    """List the versions of SEQUENCE with their digests and certificates."""
    from flows.recorded import open_existing, parse_name
    from flows.report import print_json, print_table, versions_json, versions_table

    with open_existing() as registry:
        named = parse_name(sequence)
        found = registry.versions(named.sequence)
        if named.version is not None:
            found = tuple(each for each in found if each.version == named.version)
        if json_:
            print_json(versions_json(found))
        else:
            print_table(versions_table(found))
        tell_home(registry.settings.home)
