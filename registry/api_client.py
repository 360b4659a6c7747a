"""Asking the API of another machine: every way it can go wrong becomes one of our errors, in one line."""

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Literal, Self, TypeVar

import httpx

from lori_core.errors import BadInput, CheckFailed, NotFound
from registry.accounts import TokenRefused
from registry.plain import one_line
from registry.settings import without_password
from registry.wire import API, API_HEADER, Unreadable, from_json

T = TypeVar("T")

Method = Literal["GET", "POST", "PUT", "DELETE"]

SECONDS = httpx.Timeout(120.0, connect=10.0)
"""A promotion asks MLflow, which takes its seconds."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")


_REFUSED = re.compile(r"token \((.*?)\): expected .*")
"""What a server says of a token (`registry.accounts.TokenRefused`)."""


class RefusedThere(BadInput):
    """What the registry's server refused, in its own sentence."""

    def __init__(self, line: str) -> None:
        super().__init__(line, "")
        self.args = (line,)
        self.line = line

    def __str__(self) -> str:
        """The server's sentence as it is."""
        return self.line


class NotFoundThere(RefusedThere, NotFound):
    """What does not exist, says the registry's server."""


class ApiClient:
    """One connection to a registry's API."""

    def __init__(self, url: str, token: str | None) -> None:
        """Prepare the connection; nothing is asked yet.

        Raises:
            BadInput: a URL or token that can be none.
        """
        self.place = without_password(url)
        if token is not None and _TOKEN.fullmatch(token) is None:
            raise TokenRefused("not one of a registry")
        self._token = token
        headers = {"accept": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        try:
            base = httpx.URL(url.rstrip("/") + "/")
        except httpx.InvalidURL as error:
            raise BadInput(
                f"LORI_REGISTRY_URL={self.place} ({error})", "the address of a registry"
            ) from error
        if base.scheme not in {"http", "https"} or not base.host or (base.port or 1) > 65535:
            raise BadInput(f"LORI_REGISTRY_URL={self.place}", "http://HOST:PORT or https://HOST")
        self._client = httpx.Client(base_url=base, headers=headers, timeout=SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def ask(
        self,
        kind: type[T],
        method: Method,
        path: str,
        *,
        params: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> T:
        """Ask once, and read the answer as `kind`. Nothing is ever asked twice by itself.

        Raises:
            BadInput: the server is away, too old, answers nonsense, refuses the token or the request.
            CheckFailed: a check of the server said no.
        """
        given = {key: value for key, value in (params or {}).items() if value is not None}
        try:
            answer = self._client.request(method, path, params=given, json=body)
        except (httpx.TransportError, httpx.DecodingError, httpx.TooManyRedirects) as error:
            raise self._away(method, error) from error
        self._check_version(answer)
        if not answer.is_success:
            raise self._refusal(answer)
        try:
            return from_json(kind, answer.content)
        except Unreadable as error:
            raise self._nonsense(str(error)) from error

    def _away(self, method: Method, error: Exception) -> BadInput:
        doubt = (
            "It may have been done all the same: look at the history. " if method != "GET" else ""
        )
        reason = one_line(str(error)) or type(error).__name__
        return BadInput(
            f"registry {self.place} does not answer ({reason})",
            "a server that answers",
            f"{doubt}Start it (`lori dashboard`), or check LORI_REGISTRY_URL.",
        )

    def _check_version(self, answer: httpx.Response) -> None:
        said = answer.headers.get(API_HEADER)
        if said is None or not said.isascii() or not said.isdigit() or len(said) > 6:
            raise self._nonsense(f"status {answer.status_code} without the API's version")
        if (there := int(said)) != API:
            raise BadInput(
                f"registry {self.place} speaks version {there} of the API",
                f"version {API}",
                "Update the server." if there < API else "Update lori-pipeline here.",
            )

    def _nonsense(self, why: str) -> BadInput:
        return BadInput(
            f"registry {self.place} answered nonsense ({one_line(why)})",
            "the API of `lori dashboard`",
            "Check LORI_REGISTRY_URL, and that both sides have the same lori-pipeline.",
        )

    def _refusal(self, answer: httpx.Response) -> BadInput | CheckFailed:
        try:
            said = from_json(dict[str, str], answer.content)["error"]
        except (Unreadable, KeyError):
            return self._nonsense(f"status {answer.status_code} without an error's line")
        line = one_line(said)
        match answer.status_code:
            case 401:
                return TokenRefused(
                    f"none is set for {self.place}"
                    if self._token is None
                    else f"{self.place} does not take it: {_why(line)}"
                )
            case 403 | 409:
                check, _, finding = line.partition(": ")
                return CheckFailed(check, finding)
            case 404:
                return NotFoundThere(line)
            case status if status < 500:
                return RefusedThere(line)
            case status:
                return BadInput(
                    f"registry {self.place} failed ({status}: {line})",
                    "a server that is well",
                    "Its log says more.",
                )


class Remote:
    """A part of a registry that is asked over its API. Use as a context manager."""

    def __init__(self, url: str, token: str | None) -> None:
        """Prepare the connection; nothing is asked yet.

        Raises:
            BadInput: a URL or token that can be none.
        """
        self._api = ApiClient(url, token)
        self.place = self._api.place

    def __enter__(self) -> Self:
        """Use as `with RemoteDesk(url, token) as desk`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._api.close()


def _why(line: str) -> str:
    """Why a server takes no token: its sentence without what ours says again."""
    found = _REFUSED.fullmatch(line)
    return line if found is None else found[1]
