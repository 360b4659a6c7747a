"""`lori pool`: what it writes is what Prefect's workers and Kubernetes take, and arrivals go there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from flows.cli import lori
from flows.cluster_manifests import SECRET_KEYS
from flows.cluster_pools import IMAGE, KINDS, Kind, files, job_template
from flows.pools import COMMAND

ROOT = Path(__file__).parents[2]


def filled(kind: Kind, **given: Any) -> Any:
    """A job of the template, made as Prefect's worker makes it, its blocks left as they are."""
    from prefect.utilities.templating import apply_values

    template = job_template(kind)
    properties = template["variables"]["properties"]
    values = {name: each["default"] for name, each in properties.items() if "default" in each}
    return apply_values(template["job_configuration"], {**values, "name": "run", **given})


def documents(kind: Kind = "kubernetes", gpus: tuple[int, ...] = (1, 4)) -> list[dict[str, Any]]:
    written = files(kind, gpus)
    return [
        each
        for name, text in written.items()
        if name.endswith(".yaml")
        for each in yaml.safe_load_all(text)
    ]


def pods() -> list[dict[str, Any]]:
    """Every pod there is: of the deployments, and of the jobs."""
    found = [
        each["spec"]["template"]["spec"] for each in documents() if each["kind"] == "Deployment"
    ]
    return [*found, filled("kubernetes")["job_manifest"]["spec"]["template"]["spec"]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_placeholder_of_a_template_is_a_variable_and_every_variable_is_used(
    kind: Kind,
) -> None:
    from prefect.utilities.templating import find_placeholders

    template = job_template(kind)
    asked = {each.name for each in find_placeholders(template["job_configuration"])}
    known = set(template["variables"]["properties"])
    assert asked == known
    defaults = template["variables"]["properties"]
    for name, each in defaults.items():
        if "default" in each:
            kinds = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list}
            assert isinstance(each["default"], kinds[each["type"]]), name


def test_the_keys_of_a_template_are_those_prefects_own_template_has() -> None:
    """Prefect ships the templates of its workers; ours says `container_create_kwargs` beside them."""
    import prefect.server.api

    place = Path(prefect.server.api.__file__).parent / "collections_data" / "views"
    shipped = json.loads((place / "aggregate-worker-metadata.json").read_text())
    for kind in KINDS:
        theirs = shipped[f"prefect-{kind}"][kind]["default_base_job_configuration"]
        ours = set(job_template(kind)["job_configuration"])
        assert ours - set(theirs["job_configuration"]) <= {"container_create_kwargs"}


def test_a_job_has_the_gpus_that_were_asked_for_and_runs_what_a_worker_runs() -> None:
    job = filled("kubernetes", gpus=4, env={"A": "b"})
    (container,) = job["job_manifest"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert (container["args"], container["image"]) == (COMMAND, IMAGE)
    assert container["env"] == {"A": "b"}
    assert job["job_manifest"]["spec"]["backoffLimit"] == 0
    docker = filled("docker", gpus=2)
    asked = docker["container_create_kwargs"]["device_requests"]
    assert asked == [{"count": 2, "capabilities": [["gpu"]]}]
    module = COMMAND.split()[-1]
    assert (ROOT / Path(*module.split("."))).with_suffix(".py").is_file()


def test_docker_gets_a_request_for_gpus_as_its_client_understands_it() -> None:
    from docker.types import HostConfig

    created = filled("docker", gpus=2)["container_create_kwargs"]
    host = HostConfig(
        version="1.50",
        device_requests=created["device_requests"],
        cap_drop=created["cap_drop"],
        read_only=created["read_only"],
        security_opt=created["security_opt"],
        tmpfs=created["tmpfs"],
        shm_size=created["shm_size"],
        init=created["init"],
    )
    (request,) = host["DeviceRequests"]
    assert (request["Count"], request["Capabilities"]) == (2, [["gpu"]])
    assert (host["ReadonlyRootfs"], host["ShmSize"]) == (True, 1024**3)


def test_no_pod_has_rights_it_does_not_need() -> None:
    for pod in pods():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        for container in pod["containers"]:
            inside = container["securityContext"]
            assert inside["allowPrivilegeEscalation"] is False
            assert inside["readOnlyRootFilesystem"] is True
            assert inside["capabilities"] == {"drop": ["ALL"]}
            mounted = {each["name"] for each in container["volumeMounts"]}
            assert mounted <= {each["name"] for each in pod["volumes"]}
            assert ":" in container["image"]
            assert not container["image"].endswith(":latest")


def test_the_manifests_name_nothing_that_is_not_there_and_hold_no_secret() -> None:
    made = documents()
    names = {(each["kind"], each["metadata"]["name"]) for each in made}
    assert len(names) == len(made)
    for pod in pods():
        for volume in pod["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in names
        if account := pod.get("serviceAccountName"):
            assert ("ServiceAccount", account) in names
        for container in pod["containers"]:
            for each in container.get("env") or []:
                if "valueFrom" in each:
                    (kind, where) = next(iter(each["valueFrom"].items()))
                    known = SECRET_KEYS if kind == "secretKeyRef" else _settings(made)
                    assert where["key"] in known
    assert {each["metadata"].get("namespace", "lori") for each in made} == {"lori"}
    assert not [each for each in made if each["kind"] == "Secret"]
    assert not set(SECRET_KEYS) & set(_settings(made))
    assert "&" not in files("kubernetes", (1,))["workers.yaml"], "plain YAML, without aliases"


def _settings(made: list[dict[str, Any]]) -> set[str]:
    (found,) = (each["data"] for each in made if each["kind"] == "ConfigMap")
    return set(found)


def test_every_command_of_ours_in_a_manifest_is_one_that_runs() -> None:
    for pod in pods():
        for container in pod["containers"]:
            command = container.get("command") or container["args"].split()
            if command[0] == "lori":
                said = CliRunner().invoke(lori, [*command[1:], "--help"])
                assert said.exit_code == 0, command
            for probe in ("startupProbe", "readinessProbe"):
                if probe in container:
                    assert container[probe]["exec"]["command"][:2] == ["python", "-m"]
    workers = [each for each in documents() if each["metadata"]["name"].startswith("lori-worker")]
    commands = [x["spec"]["template"]["spec"]["containers"][0]["command"] for x in workers]
    assert commands == [
        ["lori", "worker"],
        ["lori", "worker", "--gpus", "0"],
        ["lori", "worker", "--gpus", "0,1,2,3"],
    ]


def test_the_command_writes_what_it_says_and_prints_the_template_alone(tmp_path: Path) -> None:
    printed = CliRunner().invoke(lori, ["pool", "docker"])
    assert json.loads(printed.stdout) == job_template("docker")
    written = CliRunner().invoke(lori, ["pool", "kubernetes", "--write", str(tmp_path / "new")])
    told = {Path(line) for line in written.stdout.split()}
    assert told == set((tmp_path / "new").iterdir())
    assert {each.name for each in told} == set(files("kubernetes", (1,)))


@pytest.mark.slow
def test_prefect_takes_pool_and_deployments_and_the_dispatcher_sends_there_what_needs_gpus(
    tmp_path: Path,
) -> None:
    program = """
import sys
from uuid import UUID
from pathlib import Path
from flows.prefect_server import prefect_server
home = Path(sys.argv[1])
with prefect_server(home, lambda identity: None) as ready:
    ready()
    from flows.cluster_pools import apply_pool, job_template, pool_of
    from flows.dispatcher import _deployment
    from flows.pools import apply
    from flows.prefect_api import prefect_api
    with prefect_api() as client:
        apply(client)
        for kind in ("docker", "kubernetes"):
            for _ in range(2):
                made = apply_pool(client, kind, (1, 2))
            pool = client.read_work_pool(pool_of(kind))
            assert pool.base_job_template == job_template(kind), pool
        assert made == ("learn-arrival/gpu-1", "learn-arrival/gpu-2"), made
        for queue, where, asked in (
            ("cpu", "lori", {}),
            ("gpu-2", "lori-kubernetes", {"gpus": 2}),
            ("gpu-8", "lori", {}),
        ):
            deployment = client.read_deployment(_deployment(client, queue))
            assert (deployment.work_pool_name, deployment.job_variables) == (where, asked)
            run = client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"arrival": 1, "token": 1},
                work_queue_name=queue,
            )
            assert (run.work_pool_name, run.work_queue_name) == (where, queue), run
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "home")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
