"""MLflow's server of a home, in one process: `python -m registry.mlflow_server HOME PORT`.

`mlflow server` is two processes of the same size, the first of which only waits for the second and
leaves it behind when it is killed. This is the second alone, told what the first would tell it
(MLflow is pinned to the release this was read in). Its store is made or moved as the embedded
default's is, and experiments without a place of their own get theirs in the home, so that files lie
where `lori run` looks for them once no server runs.
"""

import os
import sys
from pathlib import Path

import uvicorn

from registry.settings import Settings, find_settings, switch_telemetry_off

GRACE_SECONDS = 5
"""How long requests that are being answered may take when the server is told to end."""


def server_environment(settings: Settings) -> dict[str, str]:
    """What `mlflow server` tells the process that serves: private names of the pinned release."""
    artifacts = settings.home / "mlartifacts"
    return {
        "_MLFLOW_SERVER_FILE_STORE": settings.tracking_uri,
        "_MLFLOW_SERVER_REGISTRY_STORE": settings.tracking_uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": artifacts.as_uri(),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts.as_uri(),
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # three more processes, for what we never ask
    }


def main(home: Path, port: int) -> None:
    """Serve on loopback until a signal ends it."""
    switch_telemetry_off()
    settings = find_settings(home)
    os.environ.update(server_environment(settings))
    from registry.mlflow_connection import connect  # mlflow: seconds

    connect(settings)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # its store is its own affair from here on
    config = uvicorn.Config(
        "mlflow.server.fastapi_app:app",
        host="127.0.0.1",
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
