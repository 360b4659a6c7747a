"""Files submitted later: at a time, again and again, or when they are put in a folder.

All of it lies in Prefect, where its UI shows it, pauses it and tells of its runs: a repeated file is
a deployment `submit-file/SLUG` with Prefect's schedule, a single time is a run of
`submit-file/default` that waits, a folder is an automation named after it (the dispatcher looks into
the folder; the registry remembers it). The same wish twice is one, known by its slug.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

from flows.announcing import folder_resource
from flows.automations import put
from flows.cron import cron_schedule
from flows.pools import TAG, deploy, ensure_pool, submit_file_spec
from flows.prefect_api import prefect_api
from flows.scheduled import (
    FOLDER,
    ONCE,
    REPEATED,
    ScheduleFacts,
    folder_facts,
    folder_name,
    folders,
    once_facts,
    repeated,
    repeated_facts,
    waiting_once,
)
from flows.submitted_file import check_keys, content_of, file_document
from flows.watchable import refuse_unwatchable
from lori_core.digests import sha256_json
from lori_core.errors import BadInput, NotFound
from registry.clock import now
from registry.desks import acting
from registry.queueing import Queue
from registry.roles import allow
from registry.store import Registry, open_registry

if TYPE_CHECKING:
    from prefect.client.schemas.schedules import SCHEDULE_TYPES
    from prefect.events.schemas.automations import AutomationCore

SHORTEST = timedelta(minutes=1)
"""As cron: each submission starts a process, and Prefect's server makes the runs of an hour ahead."""


def schedule_at(file: Path, when: datetime, *, priority: int, again: bool) -> str:
    """Submit a file once, at a time. Returns the slug.

    Raises:
        BadInput: no such file, or the time is past.
        Unavailable: no Prefect server answers.
    """
    path = _file(file)
    when = when.astimezone(UTC)
    if when <= now():
        raise BadInput(f"--at {when:%Y-%m-%d %H:%M:%S} UTC", "a time to come", "Leave it out.")
    slug = _slug(path, f"at {when.isoformat()}")
    with prefect_api() as client:
        from prefect.states import Scheduled

        given = _given(path, priority, again)
        for run in waiting_once(client):
            if run.name == slug:  # its priority may be another now
                client.delete_flow_run(run.id)
        ensure_pool(client)
        client.create_flow_run_from_deployment(
            deploy(client, submit_file_spec()),
            name=slug,
            idempotency_key=slug,
            state=Scheduled(scheduled_time=when),
            parameters=given,
            tags=[ONCE],
        )
    return slug


def schedule_cron(file: Path, cron: str, timezone: str, *, priority: int, again: bool) -> str:
    """Submit a file whenever a cron expression says, in a time zone. Returns the slug.

    Raises:
        BadInput: no such file, no such time zone, or what `flows.cron.cron_schedule` refuses.
        Unavailable: no Prefect server answers.
    """
    path = _file(file)
    if timezone not in available_timezones():
        raise BadInput(f"time zone {timezone!r}", "an IANA name", "For example Europe/Berlin.")
    cron = " ".join(cron.split())
    schedule = cron_schedule(cron, timezone)
    return _repeat(path, schedule, f"{cron} {timezone}", priority=priority, again=again)


def schedule_every(file: Path, every: timedelta, *, priority: int, again: bool) -> str:
    """Submit a file again and again, first after one interval. Returns the slug.

    Raises:
        BadInput: no such file, or an interval under a minute.
        Unavailable: no Prefect server answers.
    """
    path = _file(file)
    if every < SHORTEST:
        raise BadInput(f"--every {every}", "at least a minute")
    from prefect.client.schemas.schedules import IntervalSchedule

    schedule = IntervalSchedule(interval=every, anchor_date=now())
    return _repeat(path, schedule, f"every {every}", priority=priority, again=again)


def watch_folder(registry: "Registry", folder: Path, priority: int) -> str:
    """Submit each file that is put into a folder from now on. Returns the slug.

    The dispatcher looks into it; Prefect's part is an automation that shows each file it took.

    Raises:
        BadInput: no such folder, or one that `flows.watchable.refuse_unwatchable` refuses.
        CheckFailed: who acts may not submit.
        Unavailable: no Prefect server answers.
    """
    place = folder.expanduser().resolve()
    if not place.is_dir():
        raise BadInput(f"--watch {folder}", "a folder that is there", "Make it first.")
    slug, actor = _slug(place, "folder"), acting(registry)
    allow(actor, "submit")
    queue = Queue(registry, actor)
    watched = [Path(each.folder) for each in queue.watches()]
    refuse_unwatchable(place, registry.settings.home, watched)
    with prefect_api() as client:
        put(client, _folder_automation(slug, str(place), priority))
    queue.watch(str(place), priority)
    return slug


def schedules() -> tuple[ScheduleFacts, ...]:
    """Every wish that stands, by slug.

    Raises:
        Unavailable: no Prefect server answers.
    """
    with prefect_api() as client:
        facts = [
            *(repeated_facts(client, each) for each in repeated(client)),
            *(once_facts(each) for each in waiting_once(client)),
            *(folder_facts(each) for each in folders(client)),
        ]
    return tuple(sorted(facts, key=lambda each: each.slug))


def unschedule(slug: str) -> None:
    """Take a wish back. What was submitted already stays.

    Raises:
        NotFound: there is none of that slug.
        Unavailable: no Prefect server answers.
    """
    with prefect_api() as client:
        for deployment in repeated(client):
            if deployment.name == slug:
                client.delete_deployment(deployment.id)
                return
        for run in waiting_once(client):
            if run.name == slug:
                client.delete_flow_run(run.id)
                return
        for automation in folders(client):
            facts = folder_facts(automation)
            if facts.slug == slug:
                with open_registry() as registry, suppress(NotFound):  # another registry's, before
                    Queue(registry, acting(registry)).unwatch(facts.path)
                client.delete_automation(automation.id)
                return
    raise NotFound(f"schedule {slug!r}", "the slug of one that stands", "See `lori schedules`.")


# Making


def _repeat(
    path: Path, schedule: "SCHEDULE_TYPES", rule: str, *, priority: int, again: bool
) -> str:
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    slug = _slug(path, rule)
    spec = submit_file_spec(
        slug,
        description=f"Submits {path}: {rule}.",
        given=_given(path, priority, again),
        tags=(TAG, REPEATED),
    )
    with prefect_api() as client:
        ensure_pool(client)
        deploy(client, spec, [DeploymentScheduleCreate(schedule=schedule, slug=slug)])
    return slug


def _file(file: Path) -> Path:
    """The file as workers find it; its keys are read once, so that a mistake is told now."""
    path = file.expanduser().resolve()
    name, content = content_of(file_document(path))
    check_keys(content, name)
    return path


def _given(path: Path, priority: int, again: bool) -> dict[str, int | str | bool]:
    with open_registry() as registry:
        actor = acting(registry)
        allow(actor, "submit")
    return {
        "path": str(path),
        "priority": priority,
        "again": again,
        "source": "schedule",
        "submitted_by": actor.name,
    }


def _slug(path: Path, rule: str) -> str:
    readable = re.sub("[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:40]
    return f"{readable or 'file'}-{sha256_json([str(path), rule])[:8]}"


def _folder_automation(slug: str, folder: str, priority: int) -> "AutomationCore":
    from prefect.events.actions import DoNothing
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    resource = {"prefect.resource.id": f"lori.{folder_resource(folder)}"}
    return AutomationCore(
        name=folder_name(folder),
        description="Each file put there is submitted by the dispatcher, which looks into it every"
        " few seconds; here you see when. `lori unschedule` ends it.",
        tags=[TAG, FOLDER, slug, f"priority {priority}"],
        trigger=EventTrigger(
            match=ResourceSpecification.model_validate(resource),
            expect={"lori.file.dropped"},
            posture=Posture.Reactive,
        ),
        actions=[DoNothing()],
    )
