"""Work pools whose runs are containers: Docker's on one host, Jobs in Kubernetes.

Tasks that need no GPU, submissions and the dispatcher stay with `lori worker`. A deployment
`learn-arrival/gpu-N` in the pool, where there is one, takes the arrivals that need N GPUs
(`flows.dispatcher`); Prefect's own worker of that kind makes a container for each. The containers see the
same home, registry and MLflow server as every worker, and run what every worker runs.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from flows.cluster_manifests import container, documents, pod
from flows.pools import COMMAND, deploy, deployments
from flows.queues import queue_for

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

Kind = Literal["docker", "kubernetes"]
KINDS: tuple[Kind, ...] = get_args(Kind)

IMAGE = "lori-pipeline:0.1.0"
USER = 10001
TEMPLATE = "base-job-template.json"


def pool_of(kind: Kind) -> str:
    """The pool's name."""
    return f"lori-{kind}"


def job_template(kind: Kind) -> dict[str, Any]:
    """The pool's base job template."""
    return _docker() if kind == "docker" else _kubernetes()


def files(kind: Kind, gpus: Iterable[int]) -> dict[str, str]:
    """What `lori pool KIND --write` writes, by name."""
    import yaml

    written = {TEMPLATE: json.dumps(job_template(kind), indent=2) + "\n"}
    if kind == "kubernetes":
        for name, made in documents(pool_of(kind), IMAGE, USER, sorted(set(gpus))).items():
            plain = json.loads(json.dumps(made))  # what occurs twice would become an alias
            written[name] = yaml.safe_dump_all(plain, sort_keys=False, width=100)
    return written


def apply_pool(client: "SyncPrefectClient", kind: Kind, gpus: Iterable[int]) -> tuple[str, ...]:
    """Make a Prefect server have the pool and its deployments; safe to repeat.

    The template of a pool that is there is left as it is: its image, volumes and limits are the
    cluster's own.

    Returns:
        The deployments' names.
    """
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    pool, template = pool_of(kind), job_template(kind)
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=pool, type=kind, base_job_template=template))
    (learn,) = (each for each in deployments() if each.flow == "learn-arrival")
    made: list[str] = []
    for count in sorted(set(gpus)):
        spec = replace(learn, name=queue_for(count), queue=queue_for(count))
        deploy(client, spec, pool=pool, job_variables={"gpus": count})
        made.append(f"{spec.flow}/{spec.name}")
    return tuple(made)


def _variables(more: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a deployment or a person may set, and its defaults."""
    text = {"type": "string"}
    common: dict[str, Mapping[str, Any]] = {
        "command": {**text, "title": "Command", "default": COMMAND},
        "env": {
            "title": "Environment Variables",
            "type": "object",
            "additionalProperties": text,
            "default": {},
        },
        "labels": {"title": "Labels", "type": "object", "additionalProperties": text},
        "name": {**text, "title": "Name"},
        "image": {**text, "title": "Image", "default": IMAGE},
        "gpus": {"type": "integer", "title": "GPUs", "minimum": 1, "default": 1},
        "stream_output": {"type": "boolean", "title": "Stream Output", "default": True},
    }
    return {"type": "object", "properties": {**common, **more}}


def _docker() -> dict[str, Any]:
    """Beside docker-compose.yml: its networks, its volumes, its rights."""
    text = {"type": "string"}
    given = {
        "LORI_HOME": "/var/lib/lori",
        "LORI_REGISTRY_URL": "postgresql://lori@postgres:5432/lori",
        "PREFECT_API_URL": "http://prefect:4200/api",
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "MLFLOW_TRACKING_USERNAME": "lori",
        # Prefect keeps these, enciphered, as blocks of its type Secret.
        "PGPASSWORD": "{{ prefect.blocks.secret.lori-db-password }}",
        "PREFECT_API_AUTH_STRING": "{{ prefect.blocks.secret.lori-prefect-account }}",
        "MLFLOW_TRACKING_PASSWORD": "{{ prefect.blocks.secret.lori-mlflow-password }}",
        "LORI_TOKEN": "{{ prefect.blocks.secret.lori-worker-token }}",
    }
    variables = _variables(
        {
            "image_pull_policy": {**text, "title": "Image Pull Policy", "default": "IfNotPresent"},
            "networks": {
                "type": "array",
                "items": text,
                "title": "Networks",
                "default": ["lori_store", "lori_front"],
            },
            "volumes": {
                "type": "array",
                "items": text,
                "title": "Volumes",
                "default": ["lori_home:/var/lib/lori", "lori_drop:/drop"],
            },
            "shm_size": {**text, "title": "Shared Memory", "default": "1g"},
        }
    )
    variables["properties"]["env"] = {**variables["properties"]["env"], "default": given}
    same = (
        *("command", "env", "labels", "name", "image", "image_pull_policy"),
        *("networks", "volumes", "stream_output"),
    )
    created = {
        "user": f"{USER}:{USER}",
        "read_only": True,
        "tmpfs": {"/tmp": ""},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "shm_size": "{{ shm_size }}",
        "device_requests": [{"count": "{{ gpus }}", "capabilities": [["gpu"]]}],
    }
    configuration: dict[str, Any] = {name: f"{{{{ {name} }}}}" for name in same}
    configuration |= {"auto_remove": True, "container_create_kwargs": created}
    return {"job_configuration": configuration, "variables": variables}


def _kubernetes() -> dict[str, Any]:
    """A Job for each run; what it needs beside its GPUs lies in the namespace (`worker.yaml`)."""
    text = {"type": "string"}
    variables = _variables(
        {
            "namespace": {**text, "title": "Namespace", "default": "lori"},
            "image_pull_policy": {**text, "title": "Image Pull Policy", "default": "IfNotPresent"},
            "finished_job_ttl": {"type": "integer", "title": "Keep Finished Jobs", "default": 3600},
            "pod_watch_timeout_seconds": {
                "type": "integer",
                "title": "Wait For The Pod",
                "default": 600,
            },
            "cpu_request": {**text, "title": "CPU Request", "default": "2"},
            "memory_request": {**text, "title": "Memory Request", "default": "16Gi"},
            "memory_limit": {**text, "title": "Memory Limit", "default": "64Gi"},
            "node_selector": {
                "type": "object",
                "title": "Node Selector",
                "additionalProperties": text,
                "default": {},
            },
        }
    )
    resources = {
        "limits": {"nvidia.com/gpu": "{{ gpus }}", "memory": "{{ memory_limit }}"},
        "requests": {"cpu": "{{ cpu_request }}", "memory": "{{ memory_request }}"},
    }
    runs = {
        **container("prefect-job", "{{ image }}", resources),
        "imagePullPolicy": "{{ image_pull_policy }}",
        "env": "{{ env }}",
        "args": "{{ command }}",
    }
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "labels": "{{ labels }}",
            "namespace": "{{ namespace }}",
            "generateName": "{{ name }}-",
        },
        "spec": {
            "backoffLimit": 0,  # the dispatcher tries again, with a new token
            "ttlSecondsAfterFinished": "{{ finished_job_ttl }}",
            "template": {
                "spec": {
                    **pod(USER, [runs]),
                    "parallelism": 1,
                    "completions": 1,
                    "restartPolicy": "Never",
                    "nodeSelector": "{{ node_selector }}",
                }
            },
        },
    }
    same = (
        *("command", "env", "labels", "name", "namespace"),
        *("pod_watch_timeout_seconds", "stream_output"),
    )
    configuration: dict[str, Any] = {name: f"{{{{ {name} }}}}" for name in same}
    return {
        "job_configuration": {**configuration, "job_manifest": manifest},
        "variables": variables,
    }
