"""Questions to a Prefect server that someone else runs, before anything is sent to it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from registry.clock import now
from registry.probing import PROBE, UNWELL, Answer, Question, clock_answer, is_unwell, numbers
from registry.settings import without_password

if TYPE_CHECKING:
    from httpx import Response
    from prefect.client.orchestration import SyncPrefectClient

SECONDS = 15

RETRIES = 3
"""How often a change is asked for again, 2, 4 and 8 s later, of a server that is busy.

Prefect on SQLite answers 503 to a change that met another one of its own, and expects that: of 152
series of our questions to an idle one, 19 met it.
"""


def _answer(question: Question, ok: bool, detail: str, remedy: str = "") -> Answer:
    return Answer(server="prefect", question=question, ok=ok, detail=detail, remedy=remedy)


class PrefectProbe:
    """One server, asked for what it is (`look`), then for what we may do (`rights`)."""

    def __init__(self, url: str) -> None:
        """Nothing is asked yet."""
        self.url = url

    def look(self) -> Iterator[Answer]:
        """Where it is, whether it lets us in, its version and clock; ends at the first that fails.

        Only GET requests are made: nothing is created.
        """
        import httpx
        from prefect.exceptions import PrefectHTTPStatusError

        shown = without_password(self.url)
        try:
            with self._client(retries=0) as client:
                health = client.request("GET", "/health")
                if health.text.strip() != "true":  # the UI answers every other path with its page
                    remedy = "PREFECT_API_URL ends with /api, as in http://127.0.0.1:4200/api."
                    yield _answer("address", False, f"{shown} is not Prefect's API", remedy)
                    return
                yield _answer("address", True, shown)
                before = now()
                said = client.request("GET", "/admin/version")
                after = now()
        except PrefectHTTPStatusError as error:
            yield _refused(shown, error.response)
            return
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            remedy = (
                "Check PREFECT_API_URL (or Prefect's active profile), and that the server runs."
            )
            yield _answer("address", False, f"{shown} does not answer ({reason})", remedy)
            return
        yield _answer("access", True, "it lets us in")
        yield _version(str(said.json()))
        yield clock_answer("prefect", said.headers.get("Date"), before, after)

    def rights(self) -> Iterator[Answer]:
        """Whether we may send work there: one of each kind is made and deleted again.

        Prefect's own feed of events keeps that it was so.
        """
        import httpx
        from prefect.exceptions import PrefectHTTPStatusError

        try:
            with self._client(retries=RETRIES) as client:
                _make_and_delete(client)
        except PrefectHTTPStatusError as error:
            said = error.response
            asked = f"{said.request.method} {said.request.url.path}"
            told = f"({said.status_code}: {said.text[:120]})"
            if is_unwell(said.status_code):
                yield _answer("rights", False, f"{asked} fails there {told}", UNWELL)
                return
            remedy = "Let this account make work pools, deployments, runs and automations."
            yield _answer("rights", False, f"{asked} is refused {told}", remedy)
            return
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            detail = f"it answered, and no longer does ({reason}); {PROBE} may be left there"
            yield _answer("rights", False, detail, f"{UNWELL} What was left goes then.")
            return
        made = "a work pool, a deployment, a run and an automation were made and deleted"
        yield _answer("rights", True, f"{made} ({PROBE})")

    @contextmanager
    def _client(self, retries: int) -> "Iterator[SyncPrefectClient]":
        from prefect.client.orchestration import get_client
        from prefect.settings import (
            PREFECT_API_REQUEST_TIMEOUT,
            PREFECT_API_URL,
            PREFECT_CLIENT_MAX_RETRIES,
            PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
            temporary_settings,
        )

        updates = {
            PREFECT_API_URL: self.url,
            PREFECT_API_REQUEST_TIMEOUT: float(SECONDS),
            PREFECT_CLIENT_MAX_RETRIES: retries,
            PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,  # we compare, and say more
        }
        with temporary_settings(updates=updates), get_client(sync_client=True) as client:
            yield client


def _make_and_delete(client: "SyncPrefectClient") -> None:
    """Make one of each kind; delete each however far it came, and what a killed probe left."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.events.actions import DoNothing
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.states import Scheduled

    with ExitStack() as undo, _while_it_answers(undo):
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=PROBE, type="process", is_paused=True))
        undo.callback(_gone, undo, partial(client.delete_work_pool, PROBE))
        flow = client.create_flow_from_name(PROBE)
        undo.callback(_gone, undo, partial(client.delete_flow, flow))
        deployment = client.create_deployment(
            flow_id=flow, name=PROBE, entrypoint="none.at:all", work_pool_name=PROBE
        )
        undo.callback(_gone, undo, partial(client.delete_deployment, deployment))
        run = client.create_flow_run_from_deployment(
            deployment, state=Scheduled(scheduled_time=now() + timedelta(days=3650))
        )
        undo.callback(_gone, undo, partial(client.delete_flow_run, run.id))
        _delete_automations(client, undo)
        undo.callback(_delete_automations, client, undo)  # one asked for again may be there twice
        trigger = EventTrigger(
            expect={PROBE}, posture=Posture.Reactive, threshold=1, within=timedelta(0)
        )
        client.create_automation(
            AutomationCore(name=PROBE, enabled=False, trigger=trigger, actions=[DoNothing()])
        )


def _delete_automations(client: "SyncPrefectClient", undo: ExitStack) -> None:
    with _while_it_answers(undo):
        found = client.read_automations_by_name(PROBE)
    for each in found:
        _gone(undo, partial(client.delete_automation, each.id))


def _gone(undo: ExitStack, delete: Callable[[], object]) -> None:
    """Delete it, or see that it is: a deletion that was not answered is asked for again."""
    from prefect.exceptions import ObjectNotFound

    with suppress(ObjectNotFound), _while_it_answers(undo):
        delete()


@contextmanager
def _while_it_answers(undo: ExitStack) -> Iterator[None]:
    """Undo nothing more once it is silent: each further question would wait a minute for nothing."""
    import httpx

    try:
        yield
    except httpx.TransportError:
        undo.pop_all()
        raise


def _refused(shown: str, said: "Response") -> Answer:
    if said.status_code in (401, 403):
        remedy = "Set PREFECT_API_AUTH_STRING to NAME:PASSWORD (or PREFECT_API_KEY)."
        return _answer("access", False, f"it refuses us ({said.status_code})", remedy)
    remedy = "PREFECT_API_URL ends with /api; a server that is not well says more in its log."
    return _answer("address", False, f"{shown} answers with {said.status_code}", remedy)


def _version(said: str) -> Answer:
    import prefect

    ours = str(prefect.__version__)
    both = f"server {said}, client {ours}"
    theirs, own = numbers(said), numbers(ours)
    if theirs is None or own is None or theirs[0] != own[0]:
        return _answer("version", False, both, f"Both must be Prefect {(own or (3,))[0]}.")
    if theirs < own:
        remedy = f"A client must not be newer than its server: upgrade the server to {ours}."
        return _answer("version", False, both, remedy)
    return _answer("version", True, both)
