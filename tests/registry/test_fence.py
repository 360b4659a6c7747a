"""A zombie (a run that lost its turn and does not know it) can write nothing, wherever it is."""

import ast
import inspect
import shutil
from collections.abc import Iterator
from copy import deepcopy
from itertools import count, pairwise
from pathlib import Path

import pytest
from arrival_cases import arrive, end_lease, end_wait, running, taken
from decision_cases import HomeArtifacts, Learned, learn
from fake_aliases import FakeAliases
from fence_cases import CASES, Case, EmptyStockroom, Loser, lose

from registry.aliases import AliasStore
from registry.arrivals import Arrivals, Fence, FenceLost
from registry.artifacts import ArtifactStore
from registry.fenced_stores import FencedAliases, FencedArtifacts, FencedStockroom
from registry.inventory import Stockroom
from registry.store import Registry, open_registry

ROOT = Path(__file__).parents[2]

READS = {"fetch", "serves", "get_alias", "model_tags", "inventory"}
"""Methods of MLflow's three doors that change nothing there."""

NEVER = 0

NO_RUNS_WRITES = {"registry.arrivals", "registry.submissions"}
"""What moves arrivals: it asks about the fence by itself, in `test_arrivals.py`."""


@pytest.fixture
def holding(tables_kind: str, home: Path) -> Iterator[tuple[Registry, Fence]]:
    with open_registry(home) as registry:
        yield registry, running(Arrivals(registry))


def writes(registry: Registry, fence: Fence) -> None:
    learn(registry.fenced(fence), registry.settings.home / "learned", 0)


def test_who_has_the_turn_writes(holding: tuple[Registry, Fence]) -> None:
    registry, fence = holding
    writes(registry, fence)
    assert registry.sequences() == ("assistant",)


def test_a_turn_that_is_over_in_whatever_way_lets_nothing_be_written(
    holding: tuple[Registry, Fence],
) -> None:
    registry, fence = holding
    arrivals = Arrivals(registry)
    lost = {
        "it was never given out": Fence(arrival=fence.arrival, token=fence.token + 1),
        "there is no such arrival": Fence(arrival=99, token=1),
    }
    for why, other in lost.items():
        with pytest.raises(FenceLost, match=r"at token|no such arrival"):
            writes(registry, other)
        assert registry.sequences() == (), why
    end_lease(registry, fence.arrival)
    with pytest.raises(FenceLost, match=r"token 1: its lease was over at 2026-01-01"):
        writes(registry, fence)
    arrivals.expire()
    with pytest.raises(FenceLost, match=r"token 1: it is at token 2 \(waiting\)"):
        writes(registry, fence)
    end_wait(registry, fence.arrival)
    newer = taken(arrivals, fence.arrival, "host-2")
    with pytest.raises(FenceLost, match=r"token 1: it is at token 3 \(running\)"):
        writes(registry, fence)
    assert registry.sequences() == ()
    writes(registry, newer)
    arrivals.learned(newer, 1)
    with pytest.raises(FenceLost, match="token 3: it is learned"):
        writes(registry, newer)


def test_another_arrivals_turn_is_not_touched(holding: tuple[Registry, Fence]) -> None:
    registry, fence = holding
    arrivals = Arrivals(registry)
    arrive(arrivals, "other", sequence="other")
    other = taken(arrivals, 2)
    end_lease(registry, fence.arrival)
    writes(registry, other)


def _ready(root: Path, case: Case, learned_homes: Learned) -> tuple[Path, FakeAliases]:
    """A home in which the case can begin, and what its aliases are then."""
    home = root / "ready"
    learned_homes.into(home, 3, case.promotion)
    aliases = case.aliases()
    with open_registry(home, artifacts=HomeArtifacts(home), aliases=aliases) as registry:
        case.before(registry)
        running(Arrivals(registry))
    return home, aliases


@pytest.mark.parametrize("name", CASES)
def test_a_turn_that_is_lost_right_before_any_write_refuses_it_and_all_after_it(
    tmp_path: Path, learned_homes: Learned, name: str
) -> None:
    case = CASES[name]
    ready, aliases = _ready(tmp_path, case, learned_homes)
    for at in count(1):
        home = tmp_path / f"lost-{at}"
        shutil.copytree(ready, home)
        artifacts = HomeArtifacts(home)
        with (
            open_registry(home, artifacts=artifacts, aliases=deepcopy(aliases)) as registry,
            pytest.MonkeyPatch.context() as patch,
        ):
            registry._stockroom = EmptyStockroom()
            loser = Loser(registry, artifacts, at)
            lose(patch, loser)
            try:
                case.write(registry.fenced(Fence(arrival=1, token=1)))
            except FenceLost:
                assert loser.everything() == loser.there
                continue
            assert loser.asked == at - 1
            assert at > 1
            return


def test_every_place_that_writes_is_among_these(tmp_path: Path, learned_homes: Learned) -> None:
    seen: set[str] = set()
    for name, case in CASES.items():
        home, aliases = _ready(tmp_path / name, case, learned_homes)
        artifacts = HomeArtifacts(home)
        with (
            open_registry(home, artifacts=artifacts, aliases=aliases) as registry,
            pytest.MonkeyPatch.context() as patch,
        ):
            registry._stockroom = EmptyStockroom()
            loser = Loser(registry, artifacts, at=NEVER)
            lose(patch, loser)
            case.write(registry.fenced(Fence(arrival=1, token=1)))
        seen.update(loser.sites)
    places = {
        f"{module}:{function}"
        for module, function in _places_that_write()
        if module not in NO_RUNS_WRITES
    }
    assert len(places) >= 20
    assert places <= seen, sorted(places - seen)


def _places_that_write() -> Iterator[tuple[str, str]]:
    """Every function of the house that opens a session to write."""
    for path in sorted(ROOT.glob("registry/**/*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for function, node in _functions(ast.parse(path.read_text()), ""):
            for call in ast.walk(node):
                if (
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and call.func.attr == "writing"
                ):
                    yield module, function


def _functions(node: ast.AST, inside: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{inside}{child.name}.")
        elif isinstance(child, ast.FunctionDef):
            yield f"{inside}{child.name}", child


def test_nothing_writes_to_our_store_past_its_one_door() -> None:
    raw = {"_writer", "engine", "raw_connection", "create_engine", "sessionmaker", "Session"}
    for room in ("registry", "dashboard", "flows"):
        for path in ROOT.glob(f"{room}/**/*.py"):
            place = path.relative_to(ROOT).as_posix()
            if place == "registry/database.py" or "/migrations/" in place:
                continue
            used = {
                ast.unparse(node.func).rpartition(".")[2]
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Call)
            } | {
                node.attr
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute)
            }
            assert not raw & used, place


@pytest.mark.parametrize(
    ("door", "fenced"),
    [
        (ArtifactStore, FencedArtifacts),
        (AliasStore, FencedAliases),
        (Stockroom, FencedStockroom),
    ],
    ids=["artifacts", "aliases", "stockroom"],
)
def test_every_method_that_writes_to_mlflow_asks_first(door: type, fenced: type) -> None:
    methods = {
        name: method
        for name, method in inspect.getmembers(door, inspect.isfunction)
        if not name.startswith("_")
    }
    assert len(methods) >= 6
    for name, method in methods.items():
        called: list[str] = []

        def refuse() -> None:
            raise FenceLost(1, 1, "over")

        store = fenced(lambda called=called: _Recorder(called), refuse)
        arguments = [None] * (len(inspect.signature(method).parameters) - 1)
        if name in READS:
            vars(fenced)[name](store, *arguments)
            assert called == [name]
        else:
            with pytest.raises(FenceLost):
                vars(fenced)[name](store, *arguments)
            assert called == []


class _Recorder:
    def __init__(self, called: list[str]) -> None:
        self._called = called

    def __getattr__(self, name: str) -> object:
        return lambda *arguments: self._called.append(name)


CHANGES = ("create_", "delete_", "log_", "set_", "finalize_", "update_", "restore_", "rename_")


def test_mlflow_is_asked_for_nothing_that_changes_it_without_the_question_right_before() -> None:
    tree = ast.parse((ROOT / "registry" / "mlflow_artifacts.py").read_text())
    asked = 0
    for body in _bodies(tree):
        for before, statement in pairwise([ast.Pass(), *body]):
            if _changes_mlflow(statement):
                assert ast.unparse(before) == "self._allowed()", ast.unparse(statement)
                asked += 1
    assert asked >= 15


def _bodies(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.With | ast.For | ast.If | ast.FunctionDef):
            yield node.body
        if isinstance(node, ast.For | ast.If):
            yield node.orelse


def _changes_mlflow(statement: ast.stmt) -> bool:
    """Whether a statement itself, and not one inside it, calls a client to change something."""
    if isinstance(statement, ast.With | ast.For | ast.If | ast.FunctionDef | ast.ClassDef):
        return False
    return any(
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and ast.unparse(call.func.value) == "self._client"
        and call.func.attr.startswith(CHANGES)
        for call in ast.walk(statement)
    )
