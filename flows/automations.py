"""What Prefect does by itself when something happens: automations as data, made once.

Two of them act: an event submits a file, and a run whose process went silent is called crashed (the
dispatcher then gives its arrival out again). The others tell people; without an address they still
show in Prefect's UI when they fired.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from flows.announcing import SUBMIT_EVENT
from flows.pools import HEARTBEAT_SECONDS, TAG, apply
from flows.prefect_api import prefect_api

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.actions import ActionTypes
    from prefect.events.schemas.automations import Automation, AutomationCore, TriggerTypes

SILENT = timedelta(seconds=3 * HEARTBEAT_SECONDS)
"""After so long without a word a run is called crashed."""

LATE = timedelta(minutes=10)
"""A run that no worker took for so long after its time is told of."""

NOTIFY_BLOCK = "lori-notify"
"""Prefect's webhook block that holds the address people are told at."""

OUR_RUNS = {"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}
"""A tag of every run of ours: the one thing heartbeats and the server's own events both name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchfulness:
    """One automation as we want it: what it waits for, and what follows."""

    name: str
    description: str

    event: tuple[str, ...]
    """Events that fire it, or whose absence does where `silent_for` is set."""

    after: str | None = None
    """Only absences after this event count."""

    silent_for: timedelta | None = None

    runs: bool = False
    """About Prefect's runs of our deployments; else about our own events."""

    follows: Literal["tell", "crash", "submit"] = "tell"


def automations() -> tuple[Watchfulness, ...]:
    """The automations every server of ours has."""
    return (
        Watchfulness(
            name="lori: submit a file by event",
            description=f"The event {SUBMIT_EVENT} with a payload {{path, priority, again}}"
            " submits the file.",
            event=(SUBMIT_EVENT,),
            follows="submit",
        ),
        Watchfulness(
            name="lori: lost runs",
            description=f"A run that sent no heartbeat for {SILENT.seconds} s is called crashed;"
            " its arrival is then given out again.",
            after="prefect.flow-run.heartbeat",
            event=("prefect.flow-run.*",),  # any: states may have names of their own
            silent_for=SILENT,
            runs=True,
            follows="crash",
        ),
        Watchfulness(
            name="lori: stuck late",
            description=f"No worker took a run for {LATE.seconds // 60} minutes after its time:"
            " is one up on its queue?",
            after="prefect.flow-run.Late",
            event=("prefect.flow-run.*",),
            silent_for=LATE,
            runs=True,
        ),
        Watchfulness(
            name="lori: failed runs",
            description="A run failed or crashed. `lori status` says what became of its arrival.",
            event=("prefect.flow-run.Failed", "prefect.flow-run.Crashed"),
            runs=True,
        ),
        Watchfulness(
            name="lori: failed arrivals",
            description="A task was not learned, and holds up its sequence until `lori retry` or"
            " `lori cancel`.",
            event=("lori.arrival.failed",),
        ),
        Watchfulness(
            name="lori: gate refused",
            description="A version was filed and not promoted: its gate refused it.",
            event=("lori.version.refused",),
        ),
        Watchfulness(
            name="lori: waits for approval",
            description="A version passed its gate and waits for `lori approve`.",
            event=("lori.version.waits",),
        ),
    )


def apply_automations(
    client: "SyncPrefectClient", deployments: "Mapping[str, UUID]", *, notify_url: str | None = None
) -> tuple[str, ...]:
    """Make the server have our automations, once each. Safe to repeat and from several hosts.

    Args:
        client: the server.
        deployments: ids by name, as `flows.pools.apply` gave them.
        notify_url: people are told there from now on (a POST with JSON); None leaves it as it is.

    Returns:
        The names of those that were made or changed.
    """
    block = notify_block(client, notify_url)
    submit = deployments["submit-file/default"]
    wanted = [automation_of(each, submit, block) for each in automations()]
    return tuple(each.name for each in wanted if put(client, each))


def prepare_server(*, notify_url: str | None = None) -> tuple[str, ...]:
    """Make the Prefect server the environment names have all we need: pool, deployments, automations.

    Returns:
        The names of the automations that were made or changed.

    Raises:
        Unavailable: no server is named, or it does not answer.
    """
    with prefect_api() as client:
        return apply_automations(client, apply(client), notify_url=notify_url)


def put(client: "SyncPrefectClient", wanted: "AutomationCore") -> bool:
    """Make one automation or bring it up to date; False where it is so already.

    One that somebody switched off stays off. Names are not unique to Prefect: of several the
    oldest is kept, whoever made the others.
    """
    found = named(client, wanted.name)
    if not found:
        client.create_automation(wanted)
        _keep_one(client, wanted.name)
        return True
    wanted = wanted.model_copy(update={"enabled": found[0].enabled})
    _keep_one(client, wanted.name)
    if is_as(found[0], wanted):
        return False
    client.update_automation(found[0].id, wanted)
    return True


def is_as(found: "Automation", wanted: "AutomationCore") -> bool:
    """Whether the server has it as we want it. As Python values: as JSON, sets would have an order."""
    return found.model_dump(exclude={"id"}) == wanted.model_dump()


def named(client: "SyncPrefectClient", name: str) -> "list[Automation]":
    """The automations of a name, the oldest first."""
    from prefect.client.schemas.sorting import AutomationSort
    from prefect.events.filters import AutomationFilter, AutomationFilterName

    wanted = AutomationFilter(name=AutomationFilterName(any_=[name]))
    newest_first = client.read_automations(
        automations=wanted, sort=AutomationSort.CREATED_DESC, limit=200
    )
    return newest_first[::-1]


def _keep_one(client: "SyncPrefectClient", name: str) -> None:
    for double in named(client, name)[1:]:
        client.delete_automation(double.id)


def automation_of(
    wish: Watchfulness, submit_deployment: "UUID", notify: "UUID | None"
) -> "AutomationCore":
    """An automation as Prefect's API takes it.

    Args:
        wish: as data.
        submit_deployment: what an event that submits runs.
        notify: the block people are told by; None where nobody is.
    """
    from prefect.events.schemas.automations import AutomationCore

    return AutomationCore(
        name=wish.name,
        description=wish.description,
        tags=[TAG],
        trigger=_trigger(wish),
        actions=[_action(wish, submit_deployment, notify)],
    )


def _trigger(wish: Watchfulness) -> "TriggerTypes":
    from prefect.events.schemas.automations import EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    silence = wish.silent_for
    return EventTrigger(
        match=ResourceSpecification.model_validate(
            {"prefect.resource.id": "prefect.flow-run.*"} if wish.runs else {}
        ),
        match_related=ResourceSpecification.model_validate(OUR_RUNS if wish.runs else {}),
        after=set() if wish.after is None else {wish.after},
        expect=set(wish.event),
        for_each={"prefect.resource.id"} if wish.runs else set(),
        posture=Posture.Reactive if silence is None else Posture.Proactive,
        threshold=1,
        within=timedelta(0) if silence is None else silence,
    )


def _action(wish: Watchfulness, submit_deployment: "UUID", notify: "UUID | None") -> "ActionTypes":
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import CallWebhook, ChangeFlowRunState, DoNothing, RunDeployment

    if wish.follows == "crash":
        said = f"no heartbeat for {SILENT.seconds} s"
        return ChangeFlowRunState(name=None, state=StateType.CRASHED, message=said, force=False)
    if wish.follows == "submit":
        return RunDeployment(
            source="selected",
            deployment_id=submit_deployment,
            parameters={
                "path": _from_event("event.payload.path"),
                "priority": _from_event("event.payload.priority | default(0)"),
                "again": _from_event("event.payload.again | default(false)"),
                "source": "event",
                "submitted_by": "event",
            },
            job_variables=None,
        )
    if notify is None:
        return DoNothing()
    return CallWebhook(block_document_id=notify, payload=_MESSAGE)


def _from_event(expression: str) -> dict[str, object]:
    """Prefect's template for a value of the event, with its type kept."""
    template = {"__prefect_kind": "jinja", "template": f"{{{{ ({expression}) | tojson }}}}"}
    return {"__prefect_kind": "json", "value": template}


_MESSAGE = (
    '{"automation": {{ automation.name | tojson }}, "event": {{ event.event | tojson }},'
    ' "occurred": "{{ event.occurred }}", "resource": {{ event.resource.id | tojson }},'
    ' "payload": {{ event.payload | tojson }}}'
)


def notify_block(client: "SyncPrefectClient", url: str | None) -> "UUID | None":
    """The block people are told by, pointed at `url` if one is given; None where there is none."""
    from prefect.blocks.webhook import Webhook
    from prefect.exceptions import ObjectNotFound
    from pydantic import SecretStr

    if url is not None:
        Webhook(method="POST", url=SecretStr(url)).save(NOTIFY_BLOCK, overwrite=True)
    try:
        return client.read_block_document_by_name(NOTIFY_BLOCK, "webhook").id
    except ObjectNotFound:
        return None


def tell_nobody(client: "SyncPrefectClient") -> None:
    """Forget the address people were told at; `apply_automations` then only marks what fired."""
    if block := notify_block(client, None):
        client.delete_block_document(block)
