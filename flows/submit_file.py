"""The flow that submits a file: what schedules and events start. It writes one row and ends.

Checking what it says and learning it is the dispatcher's (`flows.arriving`); so this flow imports next
to nothing and is over as soon as the row is there.
"""

import time
from pathlib import Path
from typing import Literal

from prefect import flow

from lori_core.errors import BadInput, Unavailable

PATIENCE_SECONDS = 300.0
"""How long a store that is away is waited for: a scheduled hour does not come again."""


@flow(name="submit-file", flow_run_name="submit-{path}", validate_parameters=False)
def submit_file(
    path: str,
    priority: int = 0,
    again: bool = False,
    source: Literal["schedule", "event"] = "schedule",
    submitted_by: str = "prefect",
) -> int:
    """Write down that a file was submitted. Returns the submission's number.

    Raises:
        BadInput: the file cannot be read, or may not be named by an event; Prefect shows why.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    wait = 1.0
    while True:
        try:
            return submit(
                Path(path), priority=priority, again=again, source=source, submitted_by=submitted_by
            )
        except Unavailable:
            if time.monotonic() + wait > deadline:
                raise
            time.sleep(wait)
            wait = min(2 * wait, 30.0)


def submit(
    path: Path,
    *,
    priority: int,
    again: bool,
    source: Literal["schedule", "event"],
    submitted_by: str,
) -> int:
    """Write the submission of a file at this host's registry; its number.

    Raises:
        BadInput: as `submit_file`.
        Unavailable: the store cannot be reached.
    """
    from flows.submitted_file import TRUSTED, allowed_folders, file_document, refuse_outside
    from registry.arrivals import Arrivals
    from registry.home import find_home
    from registry.store import open_registry

    if not path.is_absolute():
        raise BadInput(f"path {path}", "an absolute one: a worker has no folder of its own")
    if source not in TRUSTED:
        refuse_outside("path", str(path), allowed_folders(find_home()))
    document = file_document(path)
    with open_registry() as registry:
        submission = Arrivals(registry).receive(
            document,
            source=source,
            folder=str(path.parent),
            priority=priority,
            again=again,
            submitted_by=submitted_by,
        )
    return submission.id
