"""What the server does unasked: at start it finishes what a crash left, then it delivers webhooks."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from lori_core.errors import LoriError
from registry import outbox
from registry.applying import reconcile_all
from registry.store import Registry

SECONDS = 5.0
"""Between two looks into the outbox."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def running(registry: Registry) -> AsyncIterator[None]:
    """Run the errands while the block runs; the message being sent at its end is sent to the end."""
    leaving = asyncio.Event()
    errands = asyncio.create_task(_errands(registry, leaving))
    errands.add_done_callback(_tell_end)
    try:
        yield
    finally:
        leaving.set()
        await errands


async def _errands(registry: Registry, leaving: asyncio.Event) -> None:
    await asyncio.to_thread(_finish_what_was_begun, registry)
    while not leaving.is_set():
        await asyncio.to_thread(_deliver, registry, leaving.is_set)
        try:
            await asyncio.wait_for(leaving.wait(), SECONDS)
        except TimeoutError:
            continue


def _tell_end(errands: "asyncio.Task[None]") -> None:
    """A bug of ours must not end the errands in silence: the server goes on, and nobody is told."""
    if not errands.cancelled() and (error := errands.exception()) is not None:
        log.critical(
            "the errands ended: no webhook is told anything until this server is started again",
            exc_info=error,
        )


def _finish_what_was_begun(registry: Registry) -> None:
    try:
        for entry in reconcile_all(registry):
            log.warning("reconciled promotion %s: %s", entry.promotion, entry.kind)
    except LoriError as error:  # MLflow may be away: the next start, or `lori doctor`, tries again
        log.error("could not reconcile: %s", error)


def _deliver(registry: Registry, leaving: Callable[[], bool]) -> None:
    try:
        for delivery in outbox.deliver(registry, leaving=leaving):
            if delivery.delivered is None:
                log.warning(
                    "webhook %s: attempt %d failed: %s",
                    delivery.webhook,
                    delivery.attempts,
                    delivery.last_error,
                )
    except LoriError as error:  # the store is away: the messages lie there, later is soon enough
        log.error("could not deliver: %s", error)
