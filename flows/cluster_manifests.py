"""What `lori pool kubernetes` puts into a namespace, as plain data.

Nothing secret is in it: passwords are those of a Secret `lori` that its owner makes by hand.
"""

from collections.abc import Sequence
from typing import Any

NAMESPACE = "lori"
PREFECT_IMAGE = "prefecthq/prefect:3.8.8-python3.11-kubernetes"
HOME, FILES = "/var/lib/lori", "/files"

SECRET_KEYS = (
    "PGPASSWORD",
    "PREFECT_API_AUTH_STRING",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "LORI_TOKEN",
)
"""What the Secret `lori` holds."""

SETTINGS = {
    "LORI_HOME": HOME,
    "LORI_SUBMIT_FROM": FILES,
    "LORI_REGISTRY_URL": "postgresql://lori@postgres:5432/lori",
    "PREFECT_API_URL": "http://prefect:4200/api",
    "MLFLOW_TRACKING_URI": "http://mlflow:5000",
}
"""Where the servers are; change them in settings.yaml."""

STOP_SECONDS = 30
"""What a container gets to checkpoint after SIGTERM; it takes ten at most."""

NO_RIGHTS = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""The security context of every container."""


def container(name: str, image: str, resources: dict[str, Any]) -> dict[str, Any]:
    """A container of ours: no rights, nothing writable but the home and scratch."""
    return {
        "name": name,
        "image": image,
        "envFrom": [{"configMapRef": {"name": "lori"}}, {"secretRef": {"name": "lori"}}],
        "resources": resources,
        "securityContext": NO_RIGHTS,
        "volumeMounts": [
            {"name": "home", "mountPath": HOME},
            {"name": "files", "mountPath": FILES, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }


def pod(user: int, containers: list[dict[str, Any]]) -> dict[str, Any]:
    """A pod of ours around them."""
    return {
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
        "volumes": [
            {"name": "home", "persistentVolumeClaim": {"claimName": "lori-home"}},
            {
                "name": "files",
                "persistentVolumeClaim": {"claimName": "lori-files", "readOnly": True},
            },
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ],
    }


def documents(
    pool: str, image: str, user: int, gpus: Sequence[int]
) -> dict[str, list[dict[str, Any]]]:
    """The manifests by file."""
    resources = {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "16Gi"}}
    workers = [_worker("lori-worker", image, user, ["lori", "worker"], resources)]
    for count in gpus:
        seen = ",".join(str(device) for device in range(count))
        needs = {
            "requests": {"cpu": "2", "memory": "16Gi"},
            "limits": {"memory": "64Gi", "nvidia.com/gpu": count},
        }
        command = ["lori", "worker", "--gpus", seen]
        workers.append(_worker(f"lori-worker-gpu-{count}", image, user, command, needs))
    return {
        "settings.yaml": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {**_named("v1", "ConfigMap", "lori"), "data": dict(SETTINGS)},
            _claim("lori-home", "100Gi"),
            _claim("lori-files", "100Gi"),
        ],
        "workers.yaml": workers,
        "job-worker.yaml": _job_worker(pool, user),
    }


def _worker(
    name: str, image: str, user: int, command: list[str], resources: dict[str, Any]
) -> dict[str, Any]:
    check = {"exec": {"command": ["python", "-m", "flows.worker_health"]}}
    runs = {
        **container("worker", image, resources),
        "command": command,
        "startupProbe": {
            **check,
            "periodSeconds": 10,
            "timeoutSeconds": 15,
            "failureThreshold": 30,
        },
        "readinessProbe": {**check, "periodSeconds": 30, "timeoutSeconds": 15},
    }  # no liveness probe: a Prefect server that is away must not end a training
    labels = {"app": name}
    return {
        **_named("apps/v1", "Deployment", name),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},  # a new one's GPUs are those of the old one
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod(user, [runs])},
        },
    }


def _job_worker(pool: str, user: int) -> list[dict[str, Any]]:
    """Prefect's own worker, which makes a Job for each run, and what it may do in the namespace."""
    name = "lori-job-worker"
    rules = [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]},
        {"apiGroups": [""], "resources": ["pods", "pods/log", "pods/status"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list", "watch"]},
    ]  # fmt: skip
    labels = {"app": name}
    runs = {
        "name": "worker",
        "image": PREFECT_IMAGE,
        "command": ["prefect", "worker", "start", "--pool", pool, "--type", "kubernetes"],
        "env": [
            {"name": "PREFECT_HOME", "value": "/tmp/prefect"},
            {"name": "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES", "value": NAMESPACE},
            _from("configMapKeyRef", "PREFECT_API_URL"),
            _from("secretKeyRef", "PREFECT_API_AUTH_STRING"),
        ],
        "resources": {
            "requests": {"cpu": "250m", "memory": "512Mi"},
            "limits": {"memory": "1Gi"},
        },
        "securityContext": NO_RIGHTS,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return [
        _named("v1", "ServiceAccount", name),
        {**_named("rbac.authorization.k8s.io/v1", "Role", name), "rules": rules},
        {
            **_named("rbac.authorization.k8s.io/v1", "RoleBinding", name),
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        },
        {
            **_named("apps/v1", "Deployment", name),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "serviceAccountName": name,
                        "securityContext": {
                            "runAsNonRoot": True,
                            "runAsUser": user,
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [runs],
                        "volumes": [{"name": "tmp", "emptyDir": {}}],
                    },
                },
            },
        },
    ]


def _named(version: str, kind: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
    }


def _claim(name: str, size: str) -> dict[str, Any]:
    return {
        **_named("v1", "PersistentVolumeClaim", name),
        "spec": {
            "accessModes": ["ReadWriteMany"],  # every worker sees one home
            "resources": {"requests": {"storage": size}},
        },
    }


def _from(kind: str, name: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {kind: {"name": "lori", "key": name}}}
