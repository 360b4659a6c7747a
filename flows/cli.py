"""`lori`: the command. Each command is one library call with help; heavy imports are inside."""

import click

from flows.commands.accounts import accounts
from flows.commands.adopt import adopt
from flows.commands.automations import automations
from flows.commands.check import check
from flows.commands.dashboard import dashboard
from flows.commands.delete import delete
from flows.commands.demo import demo
from flows.commands.doctor import doctor
from flows.commands.evaluate import evaluate
from flows.commands.evidence import evidence
from flows.commands.export import export
from flows.commands.freeze import freeze, thaw
from flows.commands.gate import gate
from flows.commands.history import history, pending
from flows.commands.init import init
from flows.commands.matrix import matrix
from flows.commands.merge import merge
from flows.commands.pool import pool
from flows.commands.predict import predict
from flows.commands.promote import approve, promote, reject, rollback
from flows.commands.queue import cancel, hold, release, retry
from flows.commands.retire import retire
from flows.commands.rows import rows
from flows.commands.run import run
from flows.commands.schedules import schedules, unschedule
from flows.commands.serve_vllm import serve_vllm
from flows.commands.status import status
from flows.commands.submit import submit
from flows.commands.up import up
from flows.commands.verify import verify
from flows.commands.versions import versions
from flows.commands.waive import waive, waivers
from flows.commands.webhooks import webhooks
from flows.commands.worker import worker
from flows.edge import Edge


class Sections(Edge):
    """Help in sections: nobody reads thirty commands in one list."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section as a list of its commands."""
        for title, commands in SECTIONS.items():
            width = formatter.width - 16
            with formatter.section(title):
                formatter.write_dl(
                    [(each.name or "", each.get_short_help_str(width)) for each in commands]
                )


@click.group(cls=Sections, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lori-pipeline", prog_name="lori")
def lori() -> None:
    """Learn tasks in order with LoRI adapters; prove what did not change, measure what did."""


SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Learn": (init, check, demo, run, adopt),
    "Queue": (submit, cancel, retry, hold, release, schedules, unschedule),
    "Services": (up, worker, automations, pool),
    "Look": (status, matrix, evaluate, versions, verify),
    "Use": (export, merge, predict, serve_vllm),
    "Decide": (gate, promote, approve, reject, rollback, history, pending, evidence),
    "Hold back": (freeze, thaw, waive, waivers, retire),
    "Keep": (doctor, delete, dashboard, accounts, rows, webhooks),
}
"""The commands as `lori --help` shows them."""

COMMANDS = tuple(command for commands in SECTIONS.values() for command in commands)

for command in COMMANDS:
    lori.add_command(command)


if __name__ == "__main__":
    lori()
