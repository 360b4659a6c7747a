"""The app: a registry behind HTTP. `make_app` takes what it serves; `dashboard.serve` runs it."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from dashboard import live, metrics, static_files
from dashboard.api import (
    access,
    accounts,
    arrivals,
    care,
    comparisons,
    overviews,
    promotion_overviews,
    promotions,
    sequences,
    versions,
)
from dashboard.description import DescribedApp
from dashboard.door import Door
from dashboard.downloads import Downloads
from dashboard.errands import running
from dashboard.office import Office, TheOffice
from dashboard.pages import arrivals as queue
from dashboard.pages import compare, sign_in
from dashboard.pages import promotions as promotion_pages
from dashboard.pages import sequence as sequence_page
from dashboard.pages import sequences as sequences_page
from dashboard.pages import version as version_page
from dashboard.pages.errors import refuse
from dashboard.proxy import NO_PROXY, Proxy
from dashboard.refusals import give_refusals
from dashboard.visitors import send_to_sign_in
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
    proxy: Proxy = NO_PROXY,
    errands: bool = True,
) -> FastAPI:
    """Make the app of a registry. The caller closes the registry when the app has ended.

    Args:
        registry: what is served.
        hosts: names that a request may be addressed to, without ports.
        token: whoever bears it acts as the OS user, and everybody may read, until the first account
            is made: for a server on loopback alone. None: accounts from the beginning.
        proxy: who is believed about who comes.
        errands: deliver webhooks and finish what a crash left, in the background.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not errands:
            yield
            return
        async with running(registry):
            yield

    app = DescribedApp(
        title="lori",
        version=version("lori-pipeline"),
        summary="What was learned, what serves, and who decided it.",
        lifespan=lifespan,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.live = live.Live(registry)
    app.state.office = Office(registry, token, proxy)
    app.state.downloads = Downloads(registry.settings.home)
    app.add_middleware(Door, hosts=hosts, refuse=refuse)
    give_refusals(app, refuse)
    send_to_sign_in(app)
    for noun in (
        *(sequences, promotions, arrivals, care, accounts, access, versions),
        *(sign_in, queue, version_page),
        *(promotion_overviews, comparisons, overviews),
        *(promotion_pages, compare, sequences_page, sequence_page),
        *(static_files, metrics, live),
    ):
        # As they were built: `include_router` would build each a second time, at the first request.
        app.router.routes.extend(noun.router.routes)

    @app.get("/healthz", tags=["server"])
    def healthz(office: TheOffice) -> dict[str, object]:
        """Whether the server and its store answer; no token is needed."""
        office.registry.refuse_lost()
        accounts_exist(office.registry)
        return {"ok": True, "api": API, "version": app.version}

    return app
