"""Prefect's API for one piece of work, or one line that says why it cannot be had."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lori_core.errors import BadInput, Unavailable
from registry.home import find_home
from registry.known_services import known_services
from registry.settings import without_password

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

REMEDY = "Start one with `lori up`, or set PREFECT_API_URL to the one that runs."


@contextmanager
def prefect_api() -> Iterator["SyncPrefectClient"]:
    """The server that PREFECT_API_URL (or Prefect's active profile) names, or this home's `lori up`.

    None is started where none is named: schedules and events need one that stays.

    Raises:
        Unavailable: no server is named, or it does not answer or answers with an error of its own.
        BadInput: it refuses us, or what we asked.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_URL, temporary_settings

    url = prefect_url()
    if url is None:
        raise Unavailable("Prefect: no server is named", "a Prefect server", REMEDY)
    place = f"Prefect's server {without_password(url)}"
    try:
        with (
            temporary_settings(updates={PREFECT_API_URL: url}),
            get_client(sync_client=True) as client,
        ):
            yield client
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise BadInput(
                f"{place} refuses us ({status})",
                "the name and password it was started with",
                "Set PREFECT_API_AUTH_STRING to NAME:PASSWORD.",
            ) from error
        if unwell(status):
            raise Unavailable(
                f"{place} (error {status})", "a server that is well", "Its log says more."
            ) from error
        raise
    except httpx.TransportError as error:
        raise _away(url, _reason(error)) from error
    except RuntimeError as error:  # the client's first question, asked before any of ours
        if not isinstance(error.__cause__, httpx.TransportError):
            raise
        raise _away(url, _reason(error.__cause__)) from error


def prefect_url() -> str | None:
    """The API's address: as the environment or profile says, else that of this home's `lori up`."""
    from prefect.settings import get_current_settings

    if named := get_current_settings().api.url:
        return str(named)
    up = known_services(find_home())
    return up.prefect if up else None


def _away(url: str, reason: str) -> Unavailable:
    """A server that gives no answer; `lori up` starts its own again by itself."""
    up = known_services(find_home())
    kept = up is not None and up.prefect_is_ours and up.prefect == url
    return Unavailable(
        f"Prefect's server {without_password(url)} ({reason})",
        "a server that answers",
        "`lori up` runs and is starting it again: try again in a moment." if kept else REMEDY,
    )


def unwell(status: int) -> bool:
    """Whether a server that answers with this status has trouble of its own, which may pass."""
    return status >= 500 or status == 429


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
