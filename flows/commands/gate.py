"""`lori gate S[/VERSION]`: may it be promoted?"""

import click

from flows.commands.options import as_json


@click.command()
@click.argument("version")
@as_json
def gate(version: str, json_: bool) -> None:
    """Judge VERSION (`S` for the newest) by the policy of its sequence, rule by rule.

    Compares with the champion, or with the base where there is none. The report is recorded.
    Exit code 1 when it is refused.
    """
    from flows.decided import gate_json, gate_lines, gate_table, refused_by, verdict_line
    from flows.desk import at_desk
    from flows.recorded import asked_version, parse_name
    from flows.report import print_json, print_table
    from lori_core.errors import CheckFailed

    named = parse_name(version)
    with at_desk() as here:
        report = here.desk.gate(named.sequence, asked_version(here.desk, named))
        if json_:
            print_json(gate_json(report))
        else:
            print_table(gate_table(report))
            for line in gate_lines(report):
                click.echo(line)
            if report.ok:
                click.echo(verdict_line(report))
        if not report.ok:
            raise CheckFailed("gate", refused_by(report))
