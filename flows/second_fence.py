"""Prefect's own limit on runs of one sequence: a second fence beneath our rows, which decide.

A server that dies, or that answers too late to be believed, leaves a slot with nobody. So the
dispatcher empties the limit each time it gives an arrival out, and whoever has the turn by our rows
waits a moment for the slot and then does the same: by our rows nobody else runs that sequence.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from lori_core.errors import Unavailable

SLOT_SECONDS = 60.0
"""How long Prefect keeps a slot whose holder renews it no more, and how long a freed one is waited for."""

OTHERS_SECONDS = 10.0
"""How long the one before is given to leave the slot."""


def limit_name(sequence: str) -> str:
    """The limit of a sequence, as Prefect's UI shows it."""
    return f"lori-{sequence}"


def empty(client: SyncPrefectClient, sequence: str) -> None:
    """Have the limit of a sequence, with its one slot free."""
    name = limit_name(sequence)
    try:
        client.update_global_concurrency_limit(
            name, GlobalConcurrencyLimitUpdate(limit=1, active_slots=0)
        )
    except ObjectNotFound:
        with suppress(ObjectAlreadyExists):  # another dispatcher was at it too
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))


@contextmanager
def second_fence(sequence: str, ours: Callable[[], None]) -> Iterator[None]:
    """Hold the slot of a sequence. A server that goes away meanwhile ends nothing.

    Args:
        sequence: whose slot.
        ours: raises unless it is our turn; asked before a slot that somebody still has is freed.

    Raises:
        Unavailable: the server fails, or frees nothing.
    """
    held = ExitStack()
    try:
        held.enter_context(_slot(sequence, OTHERS_SECONDS))
    except (TimeoutError, ConcurrencySlotAcquisitionError):
        ours()
        with get_client(sync_client=True) as client:
            empty(client, sequence)
        try:
            held.enter_context(_slot(sequence, SLOT_SECONDS))
        except (TimeoutError, ConcurrencySlotAcquisitionError) as error:
            raise Unavailable(
                f"Prefect's limit {limit_name(sequence)!r} ({error})", "a server with a free slot"
            ) from error
    try:
        yield
    finally:
        with suppress(httpx.HTTPError):  # a server that is away, or forgot: it is emptied anyway
            held.close()


def _slot(sequence: str, wait: float) -> AbstractContextManager[None]:
    return concurrency(
        limit_name(sequence),
        strict=True,
        timeout_seconds=wait,
        lease_duration=SLOT_SECONDS,
        raise_on_lease_renewal_failure=False,
    )
