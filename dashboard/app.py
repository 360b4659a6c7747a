"""The app: a registry behind HTTP. `make_app` takes what it serves; `dashboard.serve` runs it."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from dashboard.api import accounts, arrivals, care, promotions, sequences
from dashboard.door import Door
from dashboard.errands import running
from dashboard.office import Office, TheOffice
from dashboard.refusals import refuse_in_json
from registry.accounts import accounts_exist
from registry.store import Registry
from registry.wire import API

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names a server on loopback goes by."""


def make_app(
    registry: Registry,
    *,
    hosts: Collection[str] = LOOPBACK,
    token: str | None,
    errands: bool = True,
) -> FastAPI:
    """Make the app of a registry. The caller closes the registry when the app has ended.

    Args:
        registry: what is served.
        hosts: names that a request may be addressed to, without ports.
        token: whoever bears it acts as the OS user, and everybody may read, until the first account
            is made: for a server on loopback alone. None: accounts from the beginning.
        errands: deliver webhooks and finish what a crash left, in the background.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not errands:
            yield
            return
        async with running(registry):
            yield

    app = FastAPI(
        title="lori",
        version=version("lori-pipeline"),
        summary="What was learned, what serves, and who decided it.",
        lifespan=lifespan,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.office = Office(registry, token)
    app.add_middleware(Door, hosts=hosts)
    refuse_in_json(app)
    for noun in (sequences, promotions, arrivals, care, accounts):
        app.include_router(noun.router)

    @app.get("/healthz", tags=["server"])
    def healthz(office: TheOffice) -> dict[str, object]:
        """Whether the server and its store answer; no token is needed."""
        accounts_exist(office.registry)
        return {"ok": True, "api": API, "version": app.version}

    return app
