"""`lori`: the command. Each command is one library call with help; heavy imports are inside."""

import click

from flows.commands.check import check
from flows.commands.demo import demo
from flows.commands.evaluate import evaluate
from flows.commands.export import export
from flows.commands.init import init
from flows.commands.matrix import matrix
from flows.commands.predict import predict
from flows.commands.run import run
from flows.commands.status import status
from flows.commands.verify import verify
from flows.commands.versions import versions
from flows.edge import Edge


@click.group(cls=Edge, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lori-pipeline", prog_name="lori")
def lori() -> None:
    """Learn tasks in order with LoRI adapters; prove what did not change, measure what did."""


COMMANDS = (
    init, check, demo, run, status, matrix, evaluate, versions, verify, export, predict,
)  # fmt: skip

for command in COMMANDS:
    lori.add_command(command)


if __name__ == "__main__":
    lori()
