"""Where Prefect runs what we send: one work pool, a queue for each kind of device, deployments.

Everything is data (`deployments`, `job_template`), and `apply` makes a server agree with it, as
often as it is called. A deployment names its flow by module path, so registering one imports none
of what the flow needs; what a run needs of its host (home, stores, devices) it inherits from the
worker that starts it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flows.queues import CPU_QUEUE, SUBMIT_QUEUE

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import DeploymentScheduleCreate

POOL = "lori"
TAG = "lori"
"""On every deployment of ours, and so on every run."""

LEARN_ARRIVAL = "flows.learn_arrival.learn_arrival"
SUBMIT_FILE = "flows.submit_file.submit_file"
EVALUATE_CELLS = "flows.evaluate_cells.evaluate_cells"

HEARTBEAT_SECONDS = 30
"""How often a run that learns tells Prefect that it lives (`flows.lease`)."""

COMMAND = "python -m flows.flow_process"
"""What a worker starts for a run, wherever it is. Prefect's own default starts two processes, one of
which only prepares a folder and packages we do not ask for. `python` is the first on the worker's
PATH; `lori worker` names its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of a deployment, as Prefect's UI asks for it."""

    name: str
    kind: str
    """JSON schema's word: integer, string, boolean."""

    default: int | str | bool | None = None
    """None: it has to be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSpec:
    """A deployment as we want it to be."""

    flow: str
    name: str
    entrypoint: str
    description: str
    parameters: tuple[Parameter, ...]
    queue: str = CPU_QUEUE
    tags: tuple[str, ...] = (TAG,)
    given: Mapping[str, int | str | bool] = field(default_factory=dict)
    """Values for parameters of runs that name none."""

    def schema(self) -> dict[str, Any]:
        """The parameters as Prefect's server checks them before a run is made."""
        properties: dict[str, Any] = {}
        for position, each in enumerate(self.parameters):
            properties[each.name] = {"type": each.kind, "title": each.name, "position": position}
            if each.default is not None:
                properties[each.name]["default"] = each.default
        required = [each.name for each in self.parameters if each.default is None]
        return {"type": "object", "properties": properties, "required": required}


def deployments(*, learn_arrival: str = LEARN_ARRIVAL) -> tuple[DeploymentSpec, ...]:
    """The deployments every server of ours has.

    Args:
        learn_arrival: module path of the flow that runs an arrival; tests name one of their own.
    """
    return (
        DeploymentSpec(
            flow="learn-arrival",
            name="default",
            entrypoint=learn_arrival,
            description="Learns one task that was submitted. The dispatcher makes its runs; one"
            " made by hand finds that its token is not the arrival's, and ends.",
            parameters=(
                Parameter(name="arrival", kind="integer"),
                Parameter(name="token", kind="integer"),
            ),
        ),
        submit_file_spec(),
        DeploymentSpec(
            flow="evaluate-cells",
            name="default",
            entrypoint=EVALUATE_CELLS,
            description="Scores cells beside a run whose task asks for evaluate_workers. That run"
            " makes its helpers; one made by hand finds nothing to do.",
            parameters=(Parameter(name="folder", kind="string"),),
        ),
    )


def submit_file_spec(
    name: str = "default",
    *,
    description: str = "Submits a sequence or task file that lies on the worker's host.",
    given: Mapping[str, int | str | bool] | None = None,
    tags: tuple[str, ...] = (TAG,),
) -> DeploymentSpec:
    """A deployment of the flow that writes a submission; schedules have one each."""
    return DeploymentSpec(
        flow="submit-file",
        name=name,
        entrypoint=SUBMIT_FILE,
        description=description,
        parameters=(
            Parameter(name="path", kind="string"),
            Parameter(name="priority", kind="integer", default=0),
            Parameter(name="again", kind="boolean", default=False),
            Parameter(name="source", kind="string", default="schedule"),
            Parameter(name="submitted_by", kind="string", default="prefect"),
        ),
        queue=SUBMIT_QUEUE,
        tags=tags,
        given=given or {},
    )


def job_template() -> dict[str, Any]:
    """The pool's template: Prefect's own for processes, with our command."""
    variables = {
        "command": {"title": "Command", "type": "string", "default": COMMAND},
        "env": {
            "title": "Environment Variables",
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "labels": {
            "title": "Labels",
            "type": "object",
            "additionalProperties": {"type": "string"},
        },
        "name": {"title": "Name", "type": "string"},
        "stream_output": {"title": "Stream Output", "type": "boolean", "default": True},
        "working_dir": {"title": "Working Directory", "type": "string", "format": "path"},
    }
    return {
        "job_configuration": {name: f"{{{{ {name} }}}}" for name in variables},
        "variables": {"type": "object", "properties": variables},
    }


def apply(
    client: "SyncPrefectClient",
    *,
    queues: Sequence[str] = (CPU_QUEUE, SUBMIT_QUEUE),
    learn_arrival: str = LEARN_ARRIVAL,
) -> "dict[str, UUID]":
    """Make the server have our pool, these queues and our deployments.

    Safe to repeat and from several hosts at once: what is there is brought up to date, runs that
    wait stay. A concurrency limit or a pause that someone set on the pool or a queue is left.

    Returns:
        The deployments' ids by `flow/name`.
    """
    ensure_pool(client)
    for queue in queues:
        ensure_queue(client, queue)
    specs = deployments(learn_arrival=learn_arrival)
    return {f"{spec.flow}/{spec.name}": deploy(client, spec) for spec in specs}


def ensure_pool(client: "SyncPrefectClient") -> None:
    """Make the pool, or bring its template up to date."""
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists

    template = job_template()
    pool = WorkPoolCreate(
        name=POOL,
        type="process",
        description="Runs what was submitted to lori.",
        base_job_template=template,
    )
    try:
        client.create_work_pool(pool)
    except ObjectAlreadyExists:
        if client.read_work_pool(POOL).base_job_template != template:
            client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))


def ensure_queue(client: "SyncPrefectClient", name: str) -> None:
    """Make a queue of the pool, if it is not there."""
    from prefect.exceptions import ObjectAlreadyExists

    try:
        client.create_work_queue(name=name, work_pool_name=POOL)
    except ObjectAlreadyExists:
        return


def deploy(
    client: "SyncPrefectClient",
    spec: DeploymentSpec,
    schedules: "Sequence[DeploymentScheduleCreate]" = (),
    *,
    pool: str = POOL,
    job_variables: Mapping[str, int] | None = None,
) -> "UUID":
    """Make one deployment, or bring it up to date.

    Args:
        client: of the server.
        spec: what is wanted.
        schedules: when it runs by itself.
        pool: where it runs; another than ours is a cluster's (`flows.cluster_pools`).
        job_variables: what it asks of that pool.
    """
    flow_id = client.create_flow_from_name(spec.flow)
    return client.create_deployment(
        flow_id=flow_id,
        name=spec.name,
        entrypoint=spec.entrypoint,
        description=spec.description,
        parameters=dict(spec.given),
        parameter_openapi_schema=spec.schema(),
        enforce_parameter_schema=True,
        work_pool_name=pool,
        work_queue_name=spec.queue,
        job_variables=dict(job_variables or {}),
        tags=list(spec.tags),
        schedules=list(schedules),
    )
