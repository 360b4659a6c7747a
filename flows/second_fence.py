"""Prefect's own limit on runs of one sequence: a second fence beneath our rows, which decide.

A server that dies forgets who held a slot and may never free it. So the dispatcher empties the limit
each time it gives an arrival out: by our rows nobody runs that sequence then.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from lori_core.errors import Unavailable

SLOT_SECONDS = 60.0
"""How long Prefect keeps a slot whose holder renews it no more, and how long one is waited for."""


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
def second_fence(sequence: str) -> Iterator[None]:
    """Hold the slot of a sequence. A server that goes away meanwhile ends nothing.

    Raises:
        Unavailable: somebody else holds it, or the server fails.
    """
    held = ExitStack()
    try:
        held.enter_context(
            concurrency(
                limit_name(sequence),
                strict=True,
                timeout_seconds=SLOT_SECONDS,
                lease_duration=SLOT_SECONDS,
                raise_on_lease_renewal_failure=False,
            )
        )
    except (TimeoutError, ConcurrencySlotAcquisitionError) as error:
        raise Unavailable(
            f"Prefect's limit {limit_name(sequence)!r} ({error})", "a server with a free slot"
        ) from error
    try:
        yield
    finally:
        with suppress(httpx.HTTPError):  # a server that is away, or forgot: it is emptied anyway
            held.close()
