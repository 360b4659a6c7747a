"""Prefect events of ours: what others' automations may wait for. Best effort, never the record.

What counts is in the registry; an event that is lost delays nobody, because the dispatcher polls.
Nothing here raises, blocks, or starts a server: where no Prefect is named, nothing is sent.
"""

from typing import Literal

from lori_core.digests import sha256_json
from registry.records import Json

SUBMIT_EVENT = "lori.task.submitted"
"""Sent by others: a payload {path, priority, again} submits a file (`flows.automations`)."""

Event = Literal[
    "lori.file.dropped",
    "lori.arrival.learned",
    "lori.arrival.failed",
    "lori.version.promoted",
    "lori.version.refused",
    "lori.version.waits",
]


def announce(event: Event, resource: str, payload: Json) -> None:
    """Send an event about `lori.RESOURCE`; call `flush_events` before the process ends.

    Args:
        event: what happened.
        resource: what it happened to: `arrival.7`, `sequence.assistant`, `folder.1a2b3c4d5e6f`.
        payload: what others may want to know of it.
    """
    from prefect.events import emit_event
    from prefect.settings import get_current_settings

    if get_current_settings().api.url:
        emit_event(
            event, resource={"prefect.resource.id": f"lori.{resource}"}, payload=dict(payload)
        )


def folder_resource(folder: str) -> str:
    """The resource of a watched folder (absolute path), for `lori.file.dropped`."""
    return f"folder.{sha256_json(folder)[:12]}"
