"""schemathesis over the whole API: it sends what the description allows, and what it does not.

No answer is a 5xx, each is one the description names, and looks as it says. `LORI_HOSTILE` is how many
requests there are for each hundred operations and kind (300: three of each kind for every operation).
"""

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from arrival_cases import arrive, taken
from decision_cases import ADA, TOM, learn
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from hostile import EXAMPLES, printable
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup, ServerError
from schemathesis.openapi.checks import JsonSchemaError, UndefinedStatusCode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.responses import JSONResponse

from dashboard.app import make_app
from dashboard.description import DescribedApp
from registry.accounts import Accounts, TokenRefused, actor_of, owner
from registry.arrivals import Arrivals
from registry.clock import now
from registry.desk import Desk
from registry.outbox import add
from registry.store import Registry, open_registry

REAL: dict[str, list[Any]] = {
    "sequence": ["assistant", "careful"],
    "version": [0, 1, 2, 3],
    "task": ["t01", "t02"],
    "read": ["inherited", "isolated", "cumulative"],
    "arrival": [1, 2, 3],
    "submission": [1, 2],
    "promotion": [1, 2, 3],
    "waiver": [8],
    "name": ["the-viewer", "the-trainer", "ops"],
    "token": [2, 3],
    "alias": ["champion", "candidate", "previous"],
    "a": ["assistant", "assistant/2", "assistant@champion"],
    "b": ["careful", "careful/1"],
}
"""What is there: most requests name it, for what is not there is soon answered."""


class Guarded:
    """A filled registry, and the token of an admin who is let in again whenever he shut himself out."""

    def __init__(self, root: Path) -> None:
        store = FolderArtifacts(root / "store")
        self.registry = open_registry(root / ".lori", artifacts=store, aliases=FakeAliases())
        fill(self.registry, root)
        self._book = Accounts(self.registry, ADA)
        self._token = self._book.issue("ada", "tests").secret

    @property
    def token(self) -> str:
        try:
            actor_of(self.registry, self._token)
        except TokenRefused:
            self._book.enable("ada")
            self._token = self._book.issue("ada", "tests again").secret
        if actor_of(self.registry, self._token).role != "admin":
            self._book.change_role("ada", "admin")
        return self._token


def fill(registry: Registry, root: Path) -> None:
    learn(registry, root / "one", 3)
    learn(registry, root / "two", 2, name="careful", promotion="approval")
    Desk(registry, ADA).promote("assistant", 1, reason="it is better")
    Desk(registry, ADA).promote("assistant", 2, reason="it is better still")
    Desk(registry, TOM).promote("careful", 1, reason="please")
    Desk(registry, ADA).waive("assistant", 3, "learning:t03", "known", now() + timedelta(days=1))
    add(registry, "ops", "http://127.0.0.1:9/x")
    arrivals = Arrivals(registry)
    running, _, _ = arrive(arrivals, "poems", "sql", "law", sequence="assistant")
    fence = taken(arrivals, running)
    arrivals.renew(fence, {"stage": "train", "done": 1, "total": 3, "since": now().isoformat()})
    sent = arrivals.receive({}, source="api", folder=None, submitted_by="ann")
    arrivals.refuse(sent.id, "no such file")
    book = Accounts(registry, owner())
    for name, role in (("ada", "admin"), ("the-viewer", "viewer"), ("the-trainer", "trainer")):
        book.create(name, role)  # type: ignore[arg-type]
        if name != "ada":
            Accounts(registry, ADA).issue(name, "test")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    found = Guarded(tmp_path_factory.mktemp("api"))
    yield found
    found.registry.close()


@pytest.mark.slow
def test_every_operation_answers_as_it_is_described(
    guarded: Guarded, subtests: pytest.Subtests
) -> None:
    hosts = ("localhost", "testserver")  # as schemathesis calls an app in its own process
    app = make_app(guarded.registry, hosts=hosts, token=None, errands=False)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    statuses: dict[str, set[int]] = {}
    for each in schema.get_all_operations():
        operation = each.ok()
        takes = operation.definition.raw.keys() & {"parameters", "requestBody"}
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not takes:
                continue  # what takes nothing cannot be given what it does not take
            with subtests.test(operation=operation.label, mode=mode.value):
                try_out(operation, mode, guarded, statuses.setdefault(operation.label, set()))
    # The requests are no empty ceremony: most operations were done at least once.
    done = [label for label, seen in statuses.items() if 200 in seen]
    assert len(done) > 0.7 * len(statuses), sorted(set(statuses) - set(done))


def try_out(operation: Any, mode: GenerationMode, guarded: Guarded, seen: set[int]) -> None:
    there = [True] * 4 + [False] if mode is GenerationMode.POSITIVE else [False, False, True]

    @settings(
        max_examples=max(2, math.ceil(EXAMPLES / 100)),
        deadline=None,
        derandomize=EXAMPLES <= 300,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def ask(case: Any, data: st.DataObject) -> None:
        for given_ in (case.path_parameters, case.query):
            for name in given_ if isinstance(given_, dict) else ():
                if name in REAL and data.draw(st.sampled_from(there)):
                    given_[name] = data.draw(st.sampled_from(REAL[name]))
        answer = case.call(headers={"authorization": f"Bearer {guarded.token}"})
        seen.add(answer.status_code)
        case.validate_response(
            answer,
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )
        if answer.status_code != 200:
            assert printable(answer.json()["error"])

    ask()


def test_this_test_would_notice(guarded: Guarded) -> None:
    app = DescribedApp(title="wrong")

    @app.get("/api/breaks", tags=["server"])
    def breaks() -> dict[str, int]:
        """Fail."""
        return JSONResponse({}, status_code=500)  # type: ignore[return-value]

    @app.get("/api/says", tags=["server"])
    def says() -> dict[str, int]:
        """Say what is not described."""
        return JSONResponse({"error": "wait"}, status_code=429)  # type: ignore[return-value]

    @app.get("/api/looks", tags=["server"])
    def looks() -> dict[str, int]:
        """Look otherwise."""
        return JSONResponse({"a": "b"})  # type: ignore[return-value]

    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for each, kind in zip(
        schema.get_all_operations(),
        (ServerError, UndefinedStatusCode, JsonSchemaError),
        strict=True,
    ):
        with pytest.raises(FailureGroup) as found:
            try_out(each.ok(), GenerationMode.POSITIVE, guarded, set())
        assert found.group_contains(kind)
