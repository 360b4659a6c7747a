"""`lori verify S`: is everything still what was certified?"""

import sys

import click

from flows.commands.options import as_json, tell_home


@click.command()
@click.argument("version")
@as_json
def verify(version: str, json_: bool) -> None:
    """Recompute every hash and every probe of VERSION (`S` for all, `S/3` or `S@champion` for one).

    Exit code 1 names each layer that is not what was certified.
    """
    from flows.progress import Narrator
    from flows.recorded import open_existing, parse_name, recorded
    from flows.report import print_json

    named = parse_name(version)
    with open_existing() as registry:
        found = recorded(registry, named.sequence)
        last = found.number(named)
        versions = list(range(1, last + 1)) if str(named) == found.name else [last]
        from flows.verified import remember
        from flows.verifying import verify as verify_versions  # torch: after the name is known

        with Narrator(quiet=json_) as narrator:
            checks = verify_versions(
                found, versions, lambda k: narrator.say(f"verifying {found.name}/{k}")
            )
        remember(found, versions, checks)
        ok = all(check.ok for _, check in checks)
        if json_:
            rows = [
                {"version": k, "what": c.what, "ok": c.ok, "detail": c.detail} for k, c in checks
            ]
            print_json({"ok": ok, "checks": rows})
        else:
            for k, check in checks:
                sign = "ok  " if check.ok else "FAIL"
                click.echo(f"{sign} {found.name}/{k} {check.what}: {check.detail}")
        failed = [(k, check) for k, check in checks if not check.ok]
        for k, check in failed:
            click.echo(f"{found.name}/{k} {check.what}: {check.detail}", err=True)
        if failed:
            sys.exit(1)
        tell_home(registry.settings.home)
