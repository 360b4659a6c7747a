"""What `lori status` says of what waits, runs and was refused."""

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import update

from flows.arrival_plan import plan_of
from flows.queue_report import REFUSED, SHOWN, SHOWN_OF_ONE, queue_lines, queue_table, refused_lines
from flows.session import declare
from flows.standing import Standing, standing
from flows.times import shown
from registry.arrival_models import ArrivalRow
from registry.clock import now
from registry.desks import Opened, acting, opened
from tests.flows.arriving_cases import BASE, Desk, a_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with a_desk(tmp_path, "home") as found:
        yield found


def office(desk: Desk) -> Opened:
    return opened(desk.registry, acting(desk.registry))


def states(found: Standing) -> dict[str, str]:
    return {task["task"]: task["state"] for task in found["tasks"]}


def table(found: Standing, width: int = 200) -> str:
    made = queue_table([found])
    assert made is not None
    console = Console(width=width, file=(text := io.StringIO()))
    console.print(made)
    return text.getvalue()


def test_both_tables_say_the_same_of_an_arrival_that_waits_for_a_worker(desk: Desk) -> None:
    desk.send(desk.file("color", "size"))
    [out] = desk.arrivals.dispatch()
    found = standing(office(desk), "tiny")
    assert states(found) == {"color": "dispatched", "size": "waiting"}
    assert "waits for a worker" in table(found)
    desk.arrivals.take(out.id, out.token, "host")
    assert states(standing(office(desk), "tiny"))["color"] == "running"


def test_a_cancelled_task_is_cancelled_in_both_tables_until_it_is_begun_again(desk: Desk) -> None:
    desk.send(desk.file("color", "size"))
    desk.learn(desk.arrivals.arrival(1))
    [out] = desk.arrivals.dispatch()
    fence = desk.arrivals.take(out.id, out.token, "host")
    declare(desk.registry, plan_of(desk.registry, desk.home, out), BASE, may_promote=True)
    desk.registry.stage_started("key", stage="train", sequence="tiny", task="size")
    desk.arrivals.cancel(2, "tests")
    desk.arrivals.cancelled(fence, "asked")
    found = standing(office(desk), "tiny")
    assert states(found) == {"color": "learned", "size": "cancelled"}
    assert found["tasks"][1]["arrival"] == 2
    assert not found["running"]
    desk.registry.stage_started("other", stage="train", sequence="tiny", task="size")
    assert states(standing(office(desk), "tiny"))["size"] == "interrupted"  # begun by hand since


def test_a_run_that_was_killed_is_said_to_give_no_sign_of_life(desk: Desk) -> None:
    desk.send(desk.file("color", "size", "animal"))
    desk.learn(desk.arrivals.arrival(1))
    [out] = desk.arrivals.dispatch()
    fence = desk.arrivals.take(out.id, out.token, "host")
    began = (now() - timedelta(seconds=30)).isoformat()
    desk.arrivals.renew(fence, {"stage": "train", "done": 10, "total": 40, "since": began})
    told = table(standing(office(desk), "tiny"))
    assert "train 10/40, about" in told
    assert "ended or expected" in told
    assert told.count(f"about {now().year}") == 2  # both are expected
    with desk.registry._database.writing() as session:
        quiet = now() - timedelta(seconds=40)
        session.execute(update(ArrivalRow).where(ArrivalRow.id == 2).values(heartbeat=quiet))
    found = standing(office(desk), "tiny")
    told = table(found)
    assert "no sign of life for 4" in told
    assert "about" not in told
    silent = found["tasks"][1]["silent_seconds"]
    assert silent is not None
    assert 40 <= silent < 100
    [line] = queue_lines(found)
    assert line.startswith("arrival 2 (size): no sign of life for 4")


def test_until_when_a_task_waits_is_told_whole_in_any_width(desk: Desk) -> None:
    desk.send(desk.file("color"))
    [out] = desk.arrivals.dispatch()
    fence = desk.arrivals.take(out.id, out.token, "host")
    desk.arrivals.give_back(fence, "the server was away", wait=timedelta(minutes=3))
    found = standing(office(desk), "tiny")
    until = shown(desk.arrivals.arrival(1).not_before)
    assert f"again from {until}" in table(found)
    cells = "".join(character for character in table(found, 70) if not character.isspace())
    assert "…" not in cells
    [line] = queue_lines(found)
    assert line == f"arrival 1 (color): attempt 1 ended; again from {until}: the server was away"


def test_refusals_are_told_of_the_sequence_that_is_asked_for(desk: Desk) -> None:
    for number in range(SHOWN_OF_ONE + 2):
        for name in ("tiny", "other"):
            text = f"sequence: {name}\nnumber: {number}\n"
            desk.refused({"file": f"{name}-{number}.yaml", "text": text})
    there = office(desk).queue
    told = list(refused_lines(there, "tiny"))
    assert [line.split(")")[0].split()[1] for line in told[:-1]] == ["9", "7", "5"]
    assert told[-1] == "2 more submissions were refused of late"
    newest = there.submission(9)
    assert shown(newest.created) in told[0]
    assert "tiny-4.yaml" in told[0]
    assert not any("other" in line for line in told)
    desk.refused({"file": "broken.yaml", "text": "sequence: [1"})  # whose it is cannot be told
    assert "broken.yaml" in next(refused_lines(there, "tiny"))
    assert "broken.yaml" in next(refused_lines(there, "nobody"))
    assert len(list(refused_lines(there, "nobody"))) == 1


def test_refusals_of_all_sequences_are_told_within_bounds(desk: Desk) -> None:
    for number in range(SHOWN + 3):
        desk.refused({"file": f"{number}.yaml", "text": "- 1"})
    told = list(refused_lines(office(desk).queue))
    assert len(told) == SHOWN + 1
    assert f"{SHOWN + 2}.yaml" in told[0]
    assert told[-1] == "3 more submissions were refused of late"
    assert SHOWN < REFUSED
