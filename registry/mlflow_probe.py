"""Questions to an MLflow server that someone else runs, before anything is filed there.

Import this only through `flows.connect`, which switches telemetry off first.
"""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from requests import Response

from registry.clock import now
from registry.probing import PROBE, UNWELL, Answer, Question, clock_answer, is_unwell, numbers
from registry.settings import TRACKING_VARIABLE, without_password

OLDEST = (3, 0, 1)
"""The oldest server that all our calls were made of; 3.0.1 and 3.1.4 answer them as 3.17.2 does."""

SECONDS = 15
_API = "/api/2.0/mlflow"


def _answer(question: Question, ok: bool, detail: str, remedy: str = "") -> Answer:
    return Answer(server="mlflow", question=question, ok=ok, detail=detail, remedy=remedy)


class MlflowProbe:
    """One server, asked for what it is (`look`), then for what we may do (`rights`)."""

    def __init__(self, uri: str, home: Path) -> None:
        """Nothing is asked yet. `home` is ours: a server of this host may keep files in it."""
        self.uri = uri.rstrip("/")
        self.home = home

    def look(self) -> Iterator[Answer]:
        """Where it is, whether it lets us in, its version and clock; ends at the first that fails.

        Only GET requests are made: nothing is created.
        """
        before = now()
        try:
            said = self._ask("GET", "/version")
        except MlflowException as error:
            remedy = f"Check {TRACKING_VARIABLE}, and that the server runs."
            detail = f"does not answer ({self._without_password(error)})"
            yield _answer("address", False, detail, remedy)
            return
        after = now()
        if said.status_code == 401:
            yield _answer("address", True, without_password(self.uri))
            remedy = (
                "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account of it."
            )
            yield _answer("access", False, "it refuses our name and password (401)", remedy)
            return
        if said.status_code == 403:
            yield _answer("address", True, without_password(self.uri))
            remedy = "Where it says `Invalid Host header`, its --allowed-hosts lacks this name (and port)."
            yield _answer("access", False, f"it refuses us (403: {_words(said)})", remedy)
            return
        theirs = numbers(said.text) if said.status_code == 200 else None
        if theirs is None:
            remedy = f"Check {TRACKING_VARIABLE}: is it an MLflow server, and the whole prefix?"
            detail = f"{without_password(self.uri)} does not tell a version ({said.status_code})"
            yield _answer("address", False, detail, remedy)
            return
        yield _answer("address", True, without_password(self.uri))
        yield _answer("access", True, "it lets us in")
        yield _version(said.text.strip(), theirs)
        yield clock_answer("mlflow", said.headers.get("Date"), before, after)

    def rights(self) -> Iterator[Answer]:
        """Whether we may file there. Nothing stays but what MLflow's own log says.

        A registered model is made and deleted. An experiment would stay as a deleted one, with its
        name, so that is asked by a request that says too little: who may not is told so first.
        """
        try:
            yield from self._asked_for()
        except MlflowException as error:  # it did not answer: `look` found it well
            detail = f"it answered, and no longer does ({self._without_password(error)})"
            yield _answer("rights", False, detail, UNWELL)

    def _asked_for(self) -> Iterator[Answer]:
        made = self._ask("POST", f"{_API}/registered-models/create", {"name": PROBE})
        if made.status_code in (200, 400):  # 400: left by one that was killed
            gone = self._ask("DELETE", f"{_API}/registered-models/delete", {"name": PROBE})
            if gone.status_code == 200:
                yield _answer("rights", True, f"a registered model was made and deleted ({PROBE})")
            else:
                what = f"the registered model {PROBE} could not be deleted"
                yield self._refused(what, gone, remedy="Delete it by hand.")
        else:
            yield self._refused("a registered model cannot be made", made)
        begun = self._ask("POST", f"{_API}/experiments/create", {})
        if begun.status_code == 400:
            yield _answer("rights", True, "experiments may be made (asked, none was)")
        else:
            yield self._refused("experiments cannot be made", begun)
        yield from self._ours()
        yield self._artifacts()

    def _ours(self) -> Iterator[Answer]:
        """What is there by our names and may not be changed: filing into it would fail."""
        asked = {"filter": "name LIKE 'lori-%'", "max_results": "1000"}
        models = self._ask("GET", f"{_API}/registered-models/search", params=asked)
        if models.status_code != 200:
            yield self._refused("registered models cannot be listed", models)
        found = [each["name"] for each in _content(models).get("registered_models", [])]
        said = {
            f"the registered model {name}": self._would_change(
                "registered-models/set-tag", {"name": name}
            )
            for name in found
        }
        experiments = self._ask(
            "POST", f"{_API}/experiments/search", {**asked, "max_results": 1000}
        )
        if experiments.status_code != 200:
            yield self._refused("experiments cannot be listed", experiments)
        for each in _content(experiments).get("experiments", []):
            said[f"the experiment {each['name']}"] = self._would_change(
                "experiments/set-experiment-tag", {"experiment_id": each["experiment_id"]}
            )
        closed = [name for name, answer in said.items() if answer.status_code == 403]
        failing = [name for name, answer in said.items() if is_unwell(answer.status_code)]
        if closed:
            remedy = "Have an admin of MLflow grant this account EDIT (or MANAGE) on them."
            yield _answer("rights", False, f"may not change {', '.join(closed[:5])}", remedy)
        if failing:
            what = f"no answer whether {', '.join(failing[:5])} may be changed"
            yield self._refused(what, said[failing[0]])
        elif said and not closed:
            detail = f"{len(said)} models and experiments called lori-… may be changed (asked)"
            yield _answer("rights", True, detail)

    def _would_change(self, path: str, named: dict[str, str]) -> Response:
        """What it says to a change that is asked for without saying which, so none is made."""
        return self._ask("POST", f"{_API}/{path}", named)

    def _artifacts(self) -> Answer:
        said = self._ask("GET", f"{_API}/experiments/get", params={"experiment_id": "0"})
        if said.status_code != 200:
            detail = f"where files go could not be asked ({said.status_code}: {_words(said)})"
            return _answer("artifacts", not is_unwell(said.status_code), detail, UNWELL)
        place = str(_content(said)["experiment"]["artifact_location"])
        scheme = place.partition(":")[0] if ":" in place else ""
        if scheme in ("", "file") and self.in_our_home(place):
            return _answer("artifacts", True, f"files go to {place}, in this home")
        if scheme in ("", "file"):
            detail = f"files would go to {place}, a folder of this host and not of the server"
            remedy = "Start the server with --serve-artifacts and without --default-artifact-root."
            return _answer("artifacts", False, detail, remedy)
        if scheme == "mlflow-artifacts":
            return _answer("artifacts", True, "files go through the server")
        return _answer("artifacts", True, f"files go to {scheme}: this host needs its credentials")

    def in_our_home(self, place: str) -> bool:
        """Whether a server of this very host keeps its files in our home, as that of `lori up` does."""
        host = urlsplit(self.uri).hostname or ""
        if host not in ("localhost", "::1", socket.gethostname()) and not host.startswith("127."):
            return False
        folder = Path(unquote(urlsplit(place).path))  # of a file URL, or a path as it is
        return folder.is_absolute() and folder.resolve().is_relative_to(self.home.resolve())

    def _refused(
        self,
        what: str,
        said: Response,
        remedy: str = "Have an admin of MLflow grant this account what it lacks.",
    ) -> Answer:
        detail = f"{what} ({said.status_code}: {_words(said)})"
        if is_unwell(said.status_code):
            return _answer("rights", False, f"asked, it fails: {detail}", UNWELL)
        return _answer("rights", False, detail, remedy)

    def _without_password(self, error: MlflowException) -> str:
        told = str(error).replace(self.uri, without_password(self.uri))
        return " ".join(told.split())[:200]

    def _ask(
        self,
        method: str,
        path: str,
        content: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
    ) -> Response:
        said: Response = http_request(
            get_default_host_creds(self.uri),
            path,
            method,
            max_retries=0,
            timeout=SECONDS,
            raise_on_status=False,
            json=content,
            params=params,
        )
        return said


def _version(said: str, theirs: tuple[int, ...]) -> Answer:
    ours = str(mlflow.__version__)
    both = f"server {said}, client {ours}"
    if theirs[0] != 3 or theirs < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        remedy = f"Files are kept by a server of MLflow 3, from {oldest} on."
        return _answer("version", False, both, remedy)
    return _answer("version", True, both)


def _content(said: Response) -> dict[str, Any]:
    content: dict[str, Any] = said.json() if said.status_code == 200 else {}
    return content


def _words(said: Response) -> str:
    return " ".join(said.text.split())[:120]
