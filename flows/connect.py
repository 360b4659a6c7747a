"""`lori doctor --connect`: may we use the Prefect and the MLflow that someone else runs?

Everything is read first: address, access, version, clock. What we may do there is asked only of a
server that passed, because that is the first thing that sends anything.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from registry.probing import Answer, Server
from registry.settings import find_settings, switch_telemetry_off


class Probe(Protocol):
    """Both servers are asked alike."""

    def look(self) -> Iterator[Answer]:
        """What it is; makes nothing."""

    def rights(self) -> Iterator[Answer]:
        """What we may do there; leaves nothing."""


def connect(home: Path) -> Iterator[Answer]:
    """Ask both servers that the environment names, one answer at a time.

    Raises:
        BadInput: LORI_REGISTRY_URL or MLFLOW_TRACKING_URI is of a kind we cannot use.
    """
    probes = tuple(_probes(home))
    passed: list[Probe] = []
    for server, probe in probes:
        if probe is None:
            yield Answer(server=server, question="address", ok=True, detail=NONE[server])
            continue
        sound = True
        for answer in probe.look():
            sound = sound and answer.ok
            yield answer
        if sound:
            passed.append(probe)
    for probe in passed:
        yield from probe.rights()


NONE: dict[Server, str] = {
    "prefect": "no server is named: `lori run` starts its own, `lori up` keeps one",
    "mlflow": "no server is named: the store is used directly",
}


def _probes(home: Path) -> Iterator[tuple[Server, Probe | None]]:
    from flows.prefect_api import prefect_url
    from flows.prefect_probe import PrefectProbe

    uri = find_settings(home).tracking_uri
    url = prefect_url()
    yield "prefect", PrefectProbe(url) if url else None
    if not uri.startswith(("http://", "https://")):
        yield "mlflow", None
        return
    switch_telemetry_off()
    from registry.mlflow_probe import MlflowProbe

    yield "mlflow", MlflowProbe(uri, home)
