import pytest
from hypothesis import given
from hypothesis import strategies as st

from lori_core.capacity import (
    Capacity,
    floors,
    plan_capacity,
    share_out,
    task_budget,
    task_floors,
)
from lori_core.config import AdapterConfig
from lori_core.errors import BadInput, CapacityError, InvalidSparsity

SHAPES = {"m.0.q": (64, 32), "m.0.k": (16, 32), "m.0.up": (128, 32)}  # r 4: 256 + 64 + 512 = 832


def test_free_is_what_nobody_owns_in_each_matrix() -> None:
    capacity = Capacity(entries={"q": 10, "v": 6}, owned=({"q": 4, "v": 1}, {"q": 3}))
    assert capacity.free == {"q": 3, "v": 5}
    assert (capacity.total, capacity.total_free) == (16, 8)


def test_ten_planned_tasks_fit_and_the_plan_says_what_each_takes() -> None:
    plan = plan_capacity(SHAPES, AdapterConfig(r=4), [0.9] * 10)
    assert plan.total == 832
    assert [task.budget for task in plan.tasks] == [83] * 10
    assert [task.free_after for task in plan.tasks] == [832 - 83 * n for n in range(1, 11)]


def test_an_eleventh_task_is_refused_before_training_with_the_numbers() -> None:
    with pytest.raises(CapacityError, match=r"task 11: 83 entries of B are needed and 2 are free"):
        plan_capacity(SHAPES, AdapterConfig(r=4), [0.9] * 11)


@pytest.mark.parametrize("protection", ["overlap", "separate"])
def test_without_owners_any_number_of_tasks_fits(protection: str) -> None:
    adapter = AdapterConfig(r=4, protection=protection)  # type: ignore[arg-type]
    plan = plan_capacity(SHAPES, adapter, [0.5] * 5)
    assert {task.free_after for task in plan.tasks} == {832}


def test_two_dense_tasks_do_not_fit_one_b() -> None:
    with pytest.raises(CapacityError):
        plan_capacity(SHAPES, AdapterConfig(r=4), [0.0, 0.9])


@pytest.mark.parametrize("sparsity", [1.0, -0.01, float("nan")])
def test_sparsity_is_checked_before_anything_else(sparsity: float) -> None:
    with pytest.raises(InvalidSparsity):
        plan_capacity(SHAPES, AdapterConfig(r=4), [sparsity])


def test_a_sparsity_that_leaves_nothing_to_train_is_refused() -> None:
    with pytest.raises(BadInput, match="leaves none to train"):
        plan_capacity(SHAPES, AdapterConfig(r=4), [0.9999])


@given(st.integers(1, 12), st.integers(144, 500))
def test_tasks_of_an_equal_share_always_fit_whatever_the_rounding(tasks: int, total: int) -> None:
    free = total
    for position in range(1, tasks + 1):
        budget = task_budget(total, free, 1 - 1 / tasks, tasks=position)
        assert abs(budget - total / tasks) <= 0.5 + position / 2
        free -= budget
    assert 0 <= free <= tasks / 2


def test_a_full_b_is_refused_even_for_one_entry() -> None:
    with pytest.raises(CapacityError, match="1 entries of B are needed and 0 are free"):
        task_budget(12, 0, 0.9, tasks=7)


def test_rounding_never_hides_a_task_that_does_not_fit() -> None:
    with pytest.raises(CapacityError):
        task_budget(1000, 90, 0.9, tasks=2)


def test_a_floor_is_half_the_fair_share_of_a_matrix_rounded_up() -> None:
    # after 3 of 10 planned tasks, 7/10 of 25 entries are its fair share: 17.5; half is 8.75
    assert floors({"q": 25}, planned=10, position=3) == {"q": 9}
    assert floors({"q": 25}, planned=10, position=10) == {"q": 0}
    assert floors({"q": 25}, planned=10, position=12) == {"q": 0}


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 60), min_size=1),
    st.integers(1, 12),
)
def test_floors_always_leave_room_for_the_planned_budget(
    entries: dict[str, int], planned: int
) -> None:
    """Even when every task takes all it may of the first matrices."""
    owned: list[dict[str, int]] = []
    for position in range(1, planned + 1):
        capacity = Capacity(entries=entries, owned=tuple(owned))
        budget = min(round(capacity.total / planned), capacity.total_free)
        least = task_floors(capacity, budget=budget, planned=planned, position=position)
        taken, left = {}, budget
        for layer, free in capacity.free.items():
            taken[layer] = min(left, max(0, free - least[layer]))
            left -= taken[layer]
        assert left == 0
        owned.append(taken)


@given(st.data())
def test_shares_add_up_stay_within_room_and_are_fair(data: st.DataObject) -> None:
    sizes = data.draw(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 50), min_size=1))
    room = {name: data.draw(st.integers(0, size)) for name, size in sizes.items()}
    budget = data.draw(st.integers(0, sum(room.values())))
    shares = share_out(budget, sizes=sizes, room=room)
    assert list(shares) == list(sizes)
    assert sum(shares.values()) == budget
    assert all(0 <= shares[name] <= room[name] for name in sizes)
    # nobody who still had room got more than one entry less, per entry of size, than another
    for poor in sizes:
        for rich in sizes:
            if shares[poor] < room[poor]:
                assert (shares[rich] - 1) / sizes[rich] < (shares[poor] + 1) / sizes[poor]


def test_the_largest_remainder_gets_the_odd_entry_and_ties_go_to_the_earlier() -> None:
    plenty = {"a": 9, "b": 9, "c": 9}
    assert share_out(4, sizes={"a": 1, "b": 2, "c": 1}, room=plenty) == {"a": 1, "b": 2, "c": 1}
    assert share_out(2, sizes={"a": 1, "b": 1, "c": 1}, room=plenty) == {"a": 1, "b": 1, "c": 0}
    assert share_out(3, sizes={"a": 1, "b": 3, "c": 1}, room=plenty) == {"a": 1, "b": 2, "c": 0}
