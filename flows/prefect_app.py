"""Prefect's server as uvicorn starts it (`flows.prefect_app:create_app`), imported at less cost."""

from flows.collecting import importing

with importing():
    from prefect.server.api.server import create_app

__all__ = ["create_app"]
