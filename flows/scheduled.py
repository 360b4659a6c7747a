"""The wishes that stand in Prefect, read back: see `flows.schedules`, which makes them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowRunFilterState
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import Automation

REPEATED = "lori-schedule"
"""Tag of the deployments that repeat."""

ONCE = "lori-at"
"""Tag of the runs that wait for their time."""

FOLDER = "lori-folder"
"""Tag of the automations that stand for watched folders."""

PAGE = 200

T = TypeVar("T")

_FOLDER_NAME = "lori: folder "

Kind = Literal["at", "cron", "every", "folder", "other"]
"""`other`: a schedule that somebody made of ours in Prefect's UI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFacts:
    """One wish: what is submitted, and when."""

    slug: str
    kind: Kind

    path: str
    """The file, or the watched folder."""

    rule: str
    """When, in the words it was asked in: a time, `0 3 * * * Europe/Berlin`, `every 1 day`."""

    priority: int
    again: bool

    active: bool
    """False while somebody paused it in Prefect."""

    next: datetime | None
    """When it is submitted next; None for a folder, or while it is paused."""

    last: datetime | None
    """When it was submitted last."""

    last_state: str | None
    """How that run ended, in Prefect's word."""


def repeated(client: "SyncPrefectClient") -> "list[DeploymentResponse]":
    """The deployments that repeat."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
    from prefect.client.schemas.sorting import DeploymentSort

    wanted = DeploymentFilter(tags=DeploymentFilterTags(all_=[REPEATED]))
    return _every(
        lambda offset: client.read_deployments(
            deployment_filter=wanted, sort=DeploymentSort.NAME_ASC, limit=PAGE, offset=offset
        )
    )


def waiting_once(client: "SyncPrefectClient") -> "list[FlowRun]":
    """The runs that wait for their time."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
    from prefect.client.schemas.sorting import FlowRunSort

    wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[ONCE]), state=_in_states("SCHEDULED"))
    return _every(
        lambda offset: client.read_flow_runs(
            flow_run_filter=wanted,
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,  # the server takes no request without one
            limit=PAGE,
            offset=offset,
        )
    )


def folders(client: "SyncPrefectClient") -> "list[Automation]":
    """The automations that stand for watched folders."""
    from prefect.client.schemas.sorting import AutomationSort

    found = _every(
        lambda offset: client.read_automations(
            sort=AutomationSort.NAME_ASC, limit=PAGE, offset=offset
        )
    )
    return [each for each in found if FOLDER in each.tags]


def repeated_facts(client: "SyncPrefectClient", deployment: "DeploymentResponse") -> ScheduleFacts:
    """A file that is submitted again and again."""
    kind, rule = _rule(deployment)
    given = deployment.parameters
    coming = _one_run(client, deployment.id, "SCHEDULED", "EXPECTED_START_TIME_ASC")
    gone = _one_run(client, deployment.id, "COMPLETED FAILED CRASHED CANCELLED", "START_TIME_DESC")
    running = any(each.active for each in deployment.schedules)
    active = running and not deployment.paused
    return ScheduleFacts(
        slug=deployment.name,
        kind=kind,
        path=given["path"],
        rule=rule,
        priority=given.get("priority", 0),  # people may have edited it in Prefect
        again=given.get("again", False),
        active=active,
        next=coming.expected_start_time if coming and active else None,
        last=gone.start_time if gone else None,
        last_state=gone.state_name if gone else None,
    )


def _rule(deployment: "DeploymentResponse") -> tuple[Kind, str]:
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    match [each.schedule for each in deployment.schedules]:
        case [CronSchedule() as cron]:
            return "cron", f"{cron.cron} {cron.timezone}"
        case [IntervalSchedule() as interval]:
            return "every", f"every {interval.interval}"
        case others:
            return "other", " and ".join(str(each) for each in others) or "no schedule is left"


def once_facts(run: "FlowRun") -> ScheduleFacts:
    """A run that waits for its time."""
    assert run.expected_start_time is not None
    return ScheduleFacts(
        slug=run.name,
        kind="at",
        path=run.parameters["path"],
        rule=f"at {run.expected_start_time:%Y-%m-%d %H:%M:%S} UTC",
        priority=run.parameters["priority"],
        again=run.parameters["again"],
        active=True,
        next=run.expected_start_time,
        last=None,
        last_state=None,
    )


def folder_facts(automation: "Automation") -> ScheduleFacts:
    """A watched folder."""
    _, _, slug, priority = automation.tags
    return ScheduleFacts(
        slug=slug,
        kind="folder",
        path=automation.name.removeprefix(_FOLDER_NAME),
        rule="when a file is put there",
        priority=int(priority.removeprefix("priority ")),
        again=False,
        active=True,  # the dispatcher looks there whether or not Prefect shows it
        next=None,
        last=None,
        last_state=None,
    )


def folder_name(folder: str) -> str:
    """The automation of a folder."""
    return f"{_FOLDER_NAME}{folder}"


def _every(page: Callable[[int], list[T]]) -> list[T]:
    """All that a server has; `page` asks it for those that come after so many."""
    found: list[T] = []
    while more := page(len(found)):
        found += more
    return found


def _one_run(
    client: "SyncPrefectClient", deployment: "UUID", states: str, sort: str
) -> "FlowRun | None":
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
    from prefect.client.schemas.sorting import FlowRunSort

    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]), state=_in_states(states)
    )
    found = client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort(sort), limit=1)
    return found[0] if found else None


def _in_states(names: str) -> "FlowRunFilterState":
    from prefect.client.schemas.filters import FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    types = [StateType(name) for name in names.split()]
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=types))
