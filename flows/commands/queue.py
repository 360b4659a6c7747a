"""`lori cancel`, `retry`, `hold`, `release`: what people do with what waits, runs or failed."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from registry.arrival_records import Arrival
    from registry.desks import Opened

with_targets = click.argument("targets", metavar="ARRIVAL|SEQUENCE...", nargs=-1, required=True)


@click.command()
@with_targets
def cancel(targets: tuple[str, ...]) -> None:
    """Take arrivals (by number), or all that waits for a SEQUENCE, out of the queue.

    A running one checkpoints and ends within seconds; `lori retry` goes on from there.
    """
    from flows.desk import at_desk
    from flows.queue_targets import targets_of
    from lori_core.errors import BadInput
    from registry.arrival_records import OPEN
    from registry.arrivals import in_turn

    with at_desk() as here:
        for number, sequence in targets_of(targets):
            if number is not None:
                _tell_cancelled(here.queue.cancel(number))
                continue
            there = here.queue.arrivals(sequence, states=OPEN)
            for arrival in reversed(in_turn(there)):  # the last first: none moves up meanwhile
                try:
                    _tell_cancelled(here.queue.cancel(arrival.id))
                except BadInput:
                    if here.queue.arrival(arrival.id).state in OPEN:
                        raise
                    click.echo(f"arrival {arrival.id} ({sequence}: {arrival.task}) was over before")
            if not there and sequence is not None:
                _refuse_unknown(here, sequence)
                click.echo(f"{sequence}: nothing waits")


@click.command()
@with_targets
def retry(targets: tuple[str, ...]) -> None:
    """Let failed or cancelled arrivals (by number), or the failed one of a SEQUENCE, try again.

    It goes on from its last checkpoint, at its old place.
    """
    from flows.desk import at_desk
    from flows.queue_targets import targets_of
    from lori_core.errors import BadInput

    with at_desk() as here:
        for number, sequence in targets_of(targets):
            if number is None and sequence is not None:
                number = here.queue.blocked().get(sequence)
                if number is None:
                    _refuse_unknown(here, sequence)
                    raise BadInput(
                        f"sequence {sequence!r}: nothing of it failed",
                        "a failed arrival, or the number of a cancelled one",
                        "`lori status` lists them.",
                    )
            assert number is not None
            arrival = here.queue.retry(number)
            click.echo(f"arrival {arrival.id} ({arrival.sequence}: {arrival.task}) waits again")


@click.command()
@with_targets
@click.option(
    "--reason", default="by hand", show_default=True, help="Of a SEQUENCE, for the others."
)
def hold(targets: tuple[str, ...], reason: str) -> None:
    """Let arrivals (by number) be passed over, or a whole SEQUENCE wait, until `lori release`.

    What runs goes on.
    """
    from flows.desk import at_desk
    from flows.queue_targets import targets_of

    with at_desk() as here:
        for number, sequence in targets_of(targets):
            if number is not None:
                arrival = here.queue.hold(number)
                click.echo(f"arrival {arrival.id} ({arrival.sequence}: {arrival.task}) is held")
            elif sequence is not None:
                here.queue.hold_sequence(sequence, reason)
                click.echo(f"{sequence} is held")


@click.command()
@with_targets
def release(targets: tuple[str, ...]) -> None:
    """End what `lori hold` began, for arrivals (by number) or a SEQUENCE."""
    from flows.desk import at_desk
    from flows.queue_targets import targets_of

    with at_desk() as here:
        for number, sequence in targets_of(targets):
            if number is not None:
                arrival = here.queue.release(number)
                click.echo(f"arrival {arrival.id} ({arrival.sequence}: {arrival.task}) waits again")
            elif sequence is not None:
                here.queue.release_sequence(sequence)
                click.echo(f"{sequence} goes on")


def _refuse_unknown(here: "Opened", sequence: str) -> None:
    """Raise BadInput for a sequence that nothing was submitted of and nothing is recorded of."""
    if not here.queue.arrivals(sequence, last=1):
        here.readers.sequence(sequence)


def _tell_cancelled(arrival: "Arrival") -> None:
    said = "is asked to end" if arrival.state == "running" else "is cancelled"
    click.echo(f"arrival {arrival.id} ({arrival.sequence}: {arrival.task}) {said}")
