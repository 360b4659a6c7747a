"""Does the registry stay as fast as it was young? `python -m benchmarks.registry_growth`

Rows of ours and of MLflow's are cloned in bulk from one version that was really filed; then real
operations are timed at each size: register the next version, find by digest, ask for the champion,
promote, read a page of the history. MLflow's store is asked directly.

`promote` is everything after the gate: lock, compare-and-swap, report, rows, alias, read-back, log,
anchors, outbox. The gate itself reads every cell and hashes every file a version stands on, which
is linear in both by intent; its cost is no part of this figure.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from sqlalchemy import Engine, MetaData, Table, create_engine, func, insert, select, text

from benchmarks.results import Result, compared, write_results
from lori_core.digests import sha256_json
from registry import gating, lineage
from registry.clock import now
from registry.decision_models import PromotionRow
from registry.decisions import Actor, GateReport, RuleResult
from registry.desk import Desk
from registry.ledger import append, facts_hash
from registry.settings import switch_telemetry_off
from registry.store import Registry, open_registry
from tests.registry.servers import mlflow_url, postgresql
from tests.registry.soak import stores
from tests.registry.soak_cases import declare, file

OPERATIONS = 200
BATCH = 5000

Row = dict[str, object]


@dataclass(frozen=True)
class Size:
    """So many versions in each of so many sequences."""

    sequences: int
    versions: int

    def __str__(self) -> str:
        return f"{self.versions} in {self.sequences}" if self.sequences > 1 else f"{self.versions}"


SIZES = (Size(1, 10), Size(1, 100), Size(1, 1000), Size(1000, 40))
HISTORY = 10
"""Promotions in the log of each sequence, where there are many sequences; else one a version."""

OURS = ("sequences", "tasks", "adapters", "masks", "certificates", "versions")
MLFLOW = (
    "experiments", "runs", "tags", "params", "logged_models", "logged_model_tags",
    "registered_models", "registered_model_tags", "model_versions", "model_version_tags",
)  # fmt: skip


def name_of(sequence: int) -> str:
    """The name of a sequence by its number."""
    return f"grown-{sequence}"


def seed(registry: Registry, work: Path, size: Size) -> None:
    """File one version for real, then clone its rows until the registry has its size."""
    declare(registry, name_of(0), size.versions + OPERATIONS)
    file(registry, work, name_of(0), 1)
    _clone_ours(registry, size)
    _clone_mlflow(registry.settings.tracking_uri, size)
    for sequence in range(size.sequences):
        length = size.versions if size.sequences == 1 else HISTORY
        _promoted(registry, name_of(sequence), length)


def _clone_ours(registry: Registry, size: Size) -> None:
    engine = registry._database.engine
    tables = _tables(engine, OURS)
    with engine.connect() as connection:
        first = {
            name: [dict(row._mapping) for row in connection.execute(select(table))]
            for name, table in tables.items()
        }
    (owner,), (version,) = first["sequences"], first["versions"]
    fresh: dict[str, list[Row]] = {name: [] for name in OURS}
    for sequence in range(size.sequences):
        identity, name = 1 + sequence, name_of(sequence)
        if sequence:
            fresh["sequences"].append({**owner, "id": identity, "name": name})
            fresh["tasks"] += [
                {**task, "id": 10_000_000 + sequence * 1000 + place, "sequence_id": identity}
                for place, task in enumerate(first["tasks"])
            ]
        for number in range(1 if sequence else 2, size.versions + 1):
            made = {"id": 1 + sequence * size.versions + number}
            digest = sha256_json([name, number])
            fresh["adapters"].append(
                {**first["adapters"][0], **made, "sha256": digest, "manifest_sha256": digest}
            )
            fresh["masks"].append({**first["masks"][0], **made, "adapter_id": made["id"]})
            told = {"sequence_id": identity, "number": number}
            fresh["certificates"].append(
                {**first["certificates"][0], **made, **told, "sha256": digest}
            )
            fresh["versions"].append(
                {
                    **version, **made, **told, "adapter_id": made["id"],
                    "certificate_id": made["id"], "task": f"task-{number}", "idem_key": digest,
                    "run_id": digest[:32], "model_id": f"m-{digest[:32]}",
                    "model_name": f"lori-{name}", "model_version": number,
                }
            )  # fmt: skip
    _insert(engine, tables, fresh)


def _clone_mlflow(url: str, size: Size) -> None:
    engine = create_engine(url)
    tables = _tables(engine, MLFLOW)
    with engine.connect() as connection:
        kept = {
            name: [dict(row._mapping) for row in connection.execute(select(table))]
            for name, table in tables.items()
        }
    experiment = next(row for row in kept["experiments"] if str(row["name"]).startswith("lori-"))
    fresh: dict[str, list[Row]] = {name: [] for name in MLFLOW}
    for sequence in range(size.sequences):
        model, place = f"lori-{name_of(sequence)}", experiment["experiment_id"]
        if sequence:
            place = 1_000_000 + sequence
            fresh["experiments"].append({**experiment, "experiment_id": place, "name": model})
            for table in ("registered_models", "registered_model_tags"):
                fresh[table] += [{**row, "name": model} for row in kept[table]]
        for number in range(1 if sequence else 2, size.versions + 1):
            digest = sha256_json([name_of(sequence), number])
            run, upload = digest[:32], f"m-{digest[:32]}"
            told: Mapping[str, Row] = {
                "runs": {"run_uuid": run, "experiment_id": place},
                "tags": {"run_uuid": run},
                "params": {"run_uuid": run},
                "logged_models": {"model_id": upload, "experiment_id": place},
                "logged_model_tags": {"model_id": upload, "experiment_id": place},
                "model_versions": {
                    "name": model, "version": number, "source": f"models:/{upload}", "run_id": run,
                },
                "model_version_tags": {"name": model, "version": number},
            }  # fmt: skip
            for table, changed in told.items():
                for row in kept[table]:
                    key = str(row.get("key", row.get("tag_key", "")))
                    tag = "tag_value" if "tag_value" in row else "value"
                    own = {tag: digest} if key in {"key", "manifest_sha256"} else {}
                    fresh[table].append({**row, **changed, **own})
    _insert(engine, tables, fresh)
    engine.dispose()


def _tables(engine: Engine, names: Sequence[str]) -> dict[str, Table]:
    found = MetaData()
    found.reflect(engine, only=list(names))
    return {name: found.tables[name] for name in names}


def _insert(engine: Engine, tables: Mapping[str, Table], fresh: Mapping[str, list[Row]]) -> None:
    with engine.begin() as connection:
        for name, rows in fresh.items():
            for start in range(0, len(rows), BATCH):
                connection.execute(insert(tables[name]), rows[start : start + BATCH])
            if rows and "id" in tables[name].c and engine.dialect.name == "postgresql":
                highest = connection.scalar(select(func.max(tables[name].c.id)))
                told = {"name": name, "highest": highest}
                connection.execute(
                    text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :highest)"), told
                )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def _promoted(registry: Registry, sequence: str, times: int) -> None:
    """A history: version after version became champion, in our rows."""
    with registry._database.writing() as session:
        owner = lineage.known_sequence(session, sequence)
        for number in range(1, times + 1):
            row = PromotionRow(
                sequence_id=owner.id, kind="promote", alias="champion",
                from_version=number - 1 or None, to_version=number, requested_by="seed",
                reason="seeded", expected=None, facts_sha256="", created=now(),
            )  # fmt: skip
            row.facts_sha256 = facts_hash(owner.name, row, None)
            session.add(row)
            session.flush()
            for kind in ("requested", "applying", "applied"):
                append(session, owner, kind, "seed", {"facts_sha256": row.facts_sha256}, row)
    store, model = registry.aliases(), registry.model_name(sequence)
    store.set_alias(model, "champion", times)
    if times > 1:
        store.set_alias(model, "previous", times - 1)


def waved_through(
    registry: Registry, sequence: str, version: int, champion: int | None, **asked: object
) -> GateReport:
    """A gate that looks at nothing: what is timed is what comes after it."""
    rule = RuleResult(
        rule="integrity", figure=None, bound=None, limit=None, ok=True, verdict="pass", why="seeded"
    )
    policy = gating.policy_of(registry, sequence)
    return GateReport(
        sequence=sequence, version=version, champion=champion, policy=policy, ok=True, rules=(rule,)
    )


def operations(
    registry: Registry, work: Path, size: Size
) -> Iterator[tuple[str, Callable[[int], object]]]:
    """Each operation by name; called with 0, 1, 2, ... it does the next real one."""
    desk = Desk(registry, Actor(name="bench", role="admin", account=False))
    draw = random.Random(0)
    length = size.versions if size.sequences == 1 else HISTORY

    def any_sequence() -> str:
        return name_of(draw.randrange(size.sequences))

    def find(_: int) -> object:
        digest = sha256_json([any_sequence(), draw.randint(2, size.versions)])
        (found,) = registry.versions_with(digest)
        return found

    serving: dict[str, int] = {}

    def promote(turn: int) -> object:
        name = any_sequence()
        target = draw.randint(1, length - 1)
        target += target >= serving.get(name, length)  # any but the one that serves
        serving[name] = target
        return desk.promote(name, target, reason=f"turn {turn}")

    yield "find by digest", find
    yield "current champion", lambda _: desk.champion(any_sequence())
    yield "history page", lambda _: desk.history(any_sequence(), last=20)
    yield "promote", promote
    yield "register", lambda turn: file(registry, work, name_of(0), size.versions + 1 + turn)


def measure(kind: str, folder: Path, size: Size, count: int) -> dict[str, list[float]]:
    """Seconds of each operation at one size, in the stores the environment names."""
    home = folder / ".lori"
    with open_registry(home) as registry:
        began = time.perf_counter()
        seed(registry, folder, size)
        print(f"{kind} {size}: seeded in {time.perf_counter() - began:.0f} s", flush=True)
        taken: dict[str, list[float]] = {}
        with patch.object(gating, "judge", waved_through):
            for name, operation in operations(registry, folder, size):
                taken[name] = []
                for turn in range(count):
                    began = time.perf_counter()
                    operation(turn)
                    taken[name].append(time.perf_counter() - began)
                print(f"{kind} {size}: {name} {_shown(taken[name])}", flush=True)
        return taken


def _shown(seconds: Sequence[float]) -> str:
    ordered = sorted(1000 * each for each in seconds)
    p95 = ordered[int(0.95 * (len(ordered) - 1))]
    return f"median {statistics.median(ordered):.2f} ms, p95 {p95:.2f} ms"


def results(
    kind: str, taken: Mapping[Size, Mapping[str, Sequence[float]]], sizes: Sequence[Size]
) -> list[Result]:
    """Each figure beside that of the smallest size."""
    smallest = sizes[0]
    return [
        compared(
            f"{name}, {kind}, {size} versions",
            1000 * statistics.median(seconds),
            "ms",
            peer=f"{smallest} versions",
            peer_value=1000 * statistics.median(taken[smallest][name]),
            spread=_shown(seconds),
        )
        for size in sizes
        for name, seconds in taken[size].items()
    ]


def main() -> None:
    """Measure both stores at every size."""
    switch_telemetry_off()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=OPERATIONS)
    parser.add_argument(
        "--sizes", type=json.loads, default=[[s.sequences, s.versions] for s in SIZES]
    )
    parser.add_argument("--stores", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--dry", action="store_true", help="print, and write no results")
    given = parser.parse_args()
    sizes = [Size(*size) for size in given.sizes]
    made: list[Result] = []
    for kind in given.stores:
        taken = {}
        for size in sizes:
            with ExitStack() as stack:
                folder = Path(
                    stack.enter_context(tempfile.TemporaryDirectory(prefix="lori-growth-"))
                )
                folder.chmod(0o755)
                urls = {}
                if kind == "postgresql":
                    server = stack.enter_context(postgresql(folder / "server"))
                    urls["LORI_REGISTRY_URL"] = server.database()
                    urls["MLFLOW_TRACKING_URI"] = mlflow_url(server.database())
                stack.enter_context(stores(**urls))
                taken[size] = measure(kind, folder, size, given.operations)
        made += results(kind, taken, sizes)
    if not given.dry:
        print(write_results("registry_growth", made))
    for each in made:
        print(f"{each.name}: {each.value:.2f} ms, {each.ratio:.2f} times {each.peer}")


if __name__ == "__main__":
    main()
