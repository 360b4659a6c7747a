"""Which stores the registry uses: inside the home folder, unless the environment names others."""

import os
from dataclasses import dataclass
from pathlib import Path

from lori_core.errors import BadInput
from registry.known_services import known_services

REGISTRY_VARIABLE = "LORI_REGISTRY_URL"
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE = "registry.db"
"""In the home: our own store."""

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",  # MLflow honours the word alone; `1` is ignored
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a retried POST makes a second version
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The places of one registry."""

    home: Path
    """The home folder, absolute."""

    registry_url: str
    """SQLAlchemy URL of our own store."""

    tracking_uri: str
    """MLflow's store or server."""

    artifact_root: Path | None
    """Local folder for MLflow's artifacts; None lets an MLflow server that is not ours decide. Where
    files lie must not depend on whether `lori up` ran while they were filed."""

    model_name: str = "lori-{sequence}"
    """Template of the registered model's name."""

    @property
    def own_database(self) -> Path:
        """Our own store, where the environment names no other."""
        return self.home / DATABASE

    @property
    def is_own(self) -> bool:
        """Whether our own store is the one in the home."""
        return self.registry_url == sqlite_url(self.own_database)


def find_settings(home: Path) -> Settings:
    """Read the environment once; what it leaves open, the services of a running `lori up` answer.

    Raises:
        BadInput: a URL of a kind we cannot use; an http one is for the desk alone
            (`registry.desks.open_desk`).
    """
    if server := registry_server():
        raise BadInput(
            f"{REGISTRY_VARIABLE}={without_password(server)} is a server's API",
            "a database URL here: this command reads and writes files of the registry itself",
            "Run it where the registry is, or unset it to use the home folder.",
        )
    registry_url = os.environ.get(REGISTRY_VARIABLE) or sqlite_url(home / DATABASE)
    known = known_services(home)
    running = known.mlflow if known is not None and known.ready else None
    tracking_uri = os.environ.get(TRACKING_VARIABLE) or running or sqlite_url(home / "mlflow.db")
    ours = known is not None and known.mlflow_is_ours and tracking_uri == known.mlflow
    served = _scheme(TRACKING_VARIABLE, tracking_uri, ("sqlite", "postgresql", "http", "https"))
    return Settings(
        home=home,
        registry_url=_registry_url(registry_url),
        tracking_uri=tracking_uri,
        artifact_root=home / "mlartifacts" if ours or served not in {"http", "https"} else None,
    )


def registry_server() -> str | None:
    """The address of the API that LORI_REGISTRY_URL names, if it is an http one."""
    url = os.environ.get(REGISTRY_VARIABLE, "")
    scheme, found, _ = url.partition("://")
    return url if found and scheme.lower() in {"http", "https"} else None


def sqlite_url(path: Path) -> str:
    """SQLAlchemy's URL of a SQLite file (four slashes for an absolute path)."""
    return f"sqlite:///{path}"


def without_password(url: str) -> str:
    """The URL as it may be shown: nothing between a colon and an `@` is, whatever it stands for."""
    scheme, colon, rest = url.partition("://") if "://" in url else ("", "", url)
    account, at, host = rest.rpartition("@")
    user, secret, _ = account.partition(":")
    return f"{scheme}{colon}{user}{':***' if secret else ''}{at}{host}"


def switch_telemetry_off() -> None:
    """Make MLflow quiet and offline. Call it before mlflow is imported for the first time."""
    os.environ.update(QUIET)


def _registry_url(url: str) -> str:
    scheme = _scheme(REGISTRY_VARIABLE, url, ("sqlite", "postgresql", "postgres"))
    if scheme == "sqlite":
        if url.partition("://")[2] in {"", "/", "/:memory:"}:
            raise BadInput(f"{REGISTRY_VARIABLE}={url}", "a file", "sqlite:////folder/registry.db")
        return url
    rest = url.partition("://")[2]
    return f"postgresql+psycopg://{rest}"


def _scheme(variable: str, url: str, known: tuple[str, ...]) -> str:
    scheme = url.partition("://")[0].partition("+")[0].lower()
    offered = (*known, "http", "https") if variable == REGISTRY_VARIABLE else known
    if "://" not in url or scheme not in known:
        raise BadInput(
            f"{variable}={without_password(url)}",
            f"a URL that begins with {', '.join(f'{name}://' for name in offered)}",
            "Unset it to use the home folder.",
        )
    return scheme
