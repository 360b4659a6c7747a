"""Where Prefect and MLflow show what we only name: addresses for a person's browser.

`LORI_PREFECT_UI_URL` and `LORI_MLFLOW_UI_URL` say it where a browser reaches them by another name than
this server does (in a cluster, behind a proxy). Else `PREFECT_API_URL` and the registry's own MLflow
server are taken, else the services of a running `lori up`. Nothing is asked of either.
"""

import os
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from lori_core.errors import BadInput
from registry.known_services import known_services
from registry.settings import Settings

PREFECT_UI = "LORI_PREFECT_UI_URL"
MLFLOW_UI = "LORI_MLFLOW_UI_URL"
PREFECT_API = "PREFECT_API_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The pages of two other servers."""

    prefect: str | None
    """Prefect's UI; None where there is none that we know."""

    mlflow: str | None
    """MLflow's UI; None where its store is a file."""

    def flow_run(self, flow_run_id: str | None) -> str | None:
        """The page of a flow run."""
        if self.prefect is None or flow_run_id is None:
            return None
        return f"{self.prefect}/runs/flow-run/{quote(flow_run_id, safe='')}"

    def run(self, run_id: str | None) -> str | None:
        """The page of an MLflow run."""
        if self.mlflow is None or run_id is None:
            return None
        return f"{self.mlflow}/#/runs/{quote(run_id, safe='')}"

    def model_version(self, name: str | None, version: int | None) -> str | None:
        """The page of a version of a registered model in MLflow."""
        if self.mlflow is None or name is None or version is None:
            return None
        return f"{self.mlflow}/#/models/{quote(name, safe='')}/versions/{version}"


def find_links(settings: Settings) -> Links:
    """What can be linked to now (`lori up` may have been started a moment ago).

    Raises:
        BadInput: one of our two variables holds no http address.
    """
    known = known_services(settings.home)
    api = os.environ.get(PREFECT_API) or (None if known is None else known.prefect)
    tracking = settings.tracking_uri
    if known is not None and not tracking.startswith(("http://", "https://")):
        tracking = known.mlflow or tracking
    return Links(
        prefect=_named(PREFECT_UI)
        or _shown(None if api is None else api.rstrip("/").removesuffix("/api")),
        mlflow=_named(MLFLOW_UI) or _shown(tracking),
    )


def _named(variable: str) -> str | None:
    said = os.environ.get(variable)
    if not said:
        return None
    found = _shown(said)
    if found is None:
        raise BadInput(f"{variable}", "an http or https address", "Unset it to show no links.")
    return found


def _shown(url: str | None) -> str | None:
    """An address as a link may hold it: http alone, and no password."""
    if url is None:
        return None
    try:
        parts = urlsplit(url.rstrip("/"))
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host:
        return None
    place = f"[{host}]" if ":" in host else host
    return urlunsplit(
        (parts.scheme, place if port is None else f"{place}:{port}", parts.path.rstrip("/"), "", "")
    )
