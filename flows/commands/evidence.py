"""`lori evidence S/VERSION`: everything an auditor asks about one version, in one signed folder."""

from pathlib import Path

import click

from flows.commands.options import as_json, new_folder, tell_home


@click.command()
@click.argument("version", required=False)
@click.option("--to", "directory", type=click.Path(path_type=Path), help="Default: evidence-S-K.")
@click.option(
    "--key", type=click.Path(path_type=Path), help="Ed25519 key (PEM). Default: the home's."
)
@click.option("--check", "checked", type=click.Path(path_type=Path), help="Check a bundle instead.")
@click.option("--any-key", is_flag=True, help="With --check: whole is enough, whoever signed it.")
@click.option("--asked-by", hidden=True, help="Who asked the dashboard that runs this.")
@as_json
def evidence(
    version: str | None,
    directory: Path | None,
    key: Path | None,
    checked: Path | None,
    any_key: bool,
    asked_by: str | None,
    json_: bool,
) -> None:
    """Write what is recorded of VERSION as bundle.json and bundle.html, signed.

    Exit 1, with the bundle written, when the bits of VERSION are not what was certified; the bundle
    says so too. With --check DIR, see that a bundle is what was signed, by --key or else by this
    home's key; exit 1 names what differs.
    """
    from flows.recorded import open_existing, parse_name, recorded
    from flows.report import print_json
    from lori_core.errors import BadInput, CheckFailed
    from registry.home import find_home

    if (version is None) == (checked is None):
        raise BadInput("evidence", "a version, or --check DIR", "See `lori evidence --help`.")
    if any_key and (checked is None or key is not None):
        raise BadInput("--any-key", "--check DIR without --key", "See `lori evidence --help`.")
    if checked is not None:
        from flows.evidencing import check_evidence

        said = check_evidence(checked, key, find_home(), any_key=any_key)
        if json_:
            print_json({"ok": True, "detail": said})
        else:
            click.echo(f"{checked}: {said}")
        return
    assert version is not None
    named = parse_name(version)
    with open_existing() as registry:
        found = recorded(registry, named.sequence)
        number = found.number(named)
        folder = directory or Path(f"evidence-{found.name}-{number}")
        new_folder(folder)
        from flows.evidencing import write_evidence

        written = write_evidence(found, number, folder, key, asked_by)
        if json_:
            print_json(
                {
                    "directory": str(folder),
                    "fingerprint": written.fingerprint,
                    "broken": list(written.broken),
                }
            )
        else:
            click.echo(f"{found.name}/{number}: {folder}")
            click.echo(f"signed by {written.fingerprint}; give that to the reader by another way")
        tell_home(registry.settings.home)
        if written.broken:
            raise CheckFailed(
                "integrity",
                f"{found.name}/{number} is not what was certified, and {folder} says so:"
                f" {'; '.join(written.broken)}",
            )
