import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lori_core.config import AdapterConfig, Protection, Read
from lori_core.errors import CheckFailed, DigestMismatch, MaskMismatch
from lori_core.seeded import seeded_a
from lori_core.shared_adapter import (
    NO_ADAPTER,
    SharedAdapter,
    TaskAdapter,
    content_digest,
    mask_digest,
)
from tests.lori_core.adapter_cases import random_sequence, random_task

LAYERS = {"m.0.q": (8, 6), "m.0.up": (12, 6), "m.1.q": (8, 6)}
READS: tuple[Read, ...] = ("isolated", "inherited", "cumulative")


def settings(protection: Protection = "disjoint", read: Read = "inherited") -> AdapterConfig:
    return AdapterConfig(r=4, lora_alpha=6.0, tasks_planned=4, protection=protection, read=read)


def sequence(tasks: int = 3, protection: Protection = "disjoint") -> SharedAdapter:
    return random_sequence(LAYERS, settings(protection), tasks)


def test_b_is_what_each_task_wrote_one_after_the_other() -> None:
    shared = sequence(3)
    for version in range(4):
        expected = {layer: torch.zeros(s[0], 4) for layer, s in LAYERS.items()}
        for adapter in shared.adapters[:version]:
            for layer in LAYERS:
                rows, cols = adapter.masks[layer].nonzero(as_tuple=True)
                for value, row, col in zip(adapter.values[layer], rows, cols, strict=True):
                    expected[layer][row, col] = value
        b = shared.b_at(version)
        assert all(torch.equal(b[layer], expected[layer]) for layer in LAYERS)


def test_disjoint_tasks_keep_the_entries_of_earlier_ones_to_the_bit() -> None:
    shared = sequence(4)
    for version in range(1, 5):
        b = shared.b_at(version)
        for adapter in shared.adapters[:version]:
            for layer in LAYERS:
                assert torch.equal(b[layer][adapter.masks[layer]], adapter.values[layer])


def test_under_overlap_the_later_task_wins() -> None:
    shared = sequence(3, "overlap")
    last, b = shared.adapters[-1], shared.b_at(3)
    assert all(torch.equal(b[x][last.masks[x]], last.values[x]) for x in LAYERS)
    first = shared.adapters[0]
    assert any(not torch.equal(b[x][first.masks[x]], first.values[x]) for x in LAYERS)


@pytest.mark.parametrize("read", ["isolated", "inherited"])
@pytest.mark.parametrize("protection", ["disjoint", "separate"])
def test_what_a_task_reads_never_changes_when_its_mode_is_protected(
    read: Read, protection: Protection
) -> None:
    shared = sequence(4, protection)
    for position in range(1, 5):
        digests = {shared.effective(position, v, read).digest for v in range(position, 5)}
        assert len(digests) == 1


def test_a_cumulative_read_changes_with_every_version() -> None:
    shared = sequence(4)
    digests = [shared.effective(1, version, "cumulative").digest for version in range(1, 5)]
    assert len(set(digests)) == 4
    everyone = {shared.effective(p, 4, "cumulative").digest for p in range(1, 5)}
    assert everyone == {digests[-1]}


def test_isolated_reads_only_its_own_and_inherited_also_the_earlier_entries() -> None:
    shared = sequence(3)
    isolated, inherited = (shared.effective(2, 3, r).b for r in ("isolated", "inherited"))
    b = shared.b_at(3)
    for layer in LAYERS:
        first, second, third = (a.masks[layer] for a in shared.adapters)
        assert torch.equal(isolated[layer], torch.where(second, b[layer], 0.0))
        assert torch.equal(inherited[layer], torch.where(first | second, b[layer], 0.0))
        assert not inherited[layer][third].any()


@pytest.mark.parametrize(
    ("read", "same_as"), [("isolated", None), ("inherited", 2), ("cumulative", 2)]
)
def test_a_task_to_come_reads_the_base_or_what_is_written_so_far(
    read: Read, same_as: int | None
) -> None:
    shared = sequence(3)
    coming = shared.effective(3, 2, read)
    if same_as is None:
        assert coming.digest == NO_ADAPTER
    else:
        assert coming.digest == shared.effective(same_as, 2, read).digest


@pytest.mark.parametrize("read", READS)
def test_at_version_zero_everything_is_the_base(read: Read) -> None:
    assert sequence(2).effective(1, 0, read).digest == NO_ADAPTER


def test_separate_tasks_have_an_a_of_their_own_and_share_no_b() -> None:
    shared = sequence(2, "separate")
    one, two = (shared.effective(p, 2, "isolated") for p in (1, 2))
    assert not torch.equal(one.a["m.0.q"], two.a["m.0.q"])
    for position, effective in ((1, one), (2, two)):
        mine = shared.adapters[position - 1]
        for layer in LAYERS:
            assert torch.equal(effective.b[layer][mine.masks[layer]], mine.values[layer])
            assert not effective.b[layer][~mine.masks[layer]].any()
    with pytest.raises(ValueError, match="share no B"):
        shared.b_at(2)


def test_a_is_the_seeded_one_and_the_scaling_is_alpha_over_r() -> None:
    effective = sequence(1).effective(1, 1, "inherited")
    assert torch.equal(effective.a["m.0.up"], seeded_a(0, "m.0.up", 4, 6))
    assert effective.scaling == 1.5


def test_an_a_that_is_not_the_certified_one_is_refused_by_layer() -> None:
    adapter = sequence(1).adapters[0]
    wrong = dataclasses.replace(adapter, a_digests={**adapter.a_digests, "m.1.q": "0" * 64})
    with pytest.raises(DigestMismatch, match=r"layer m\.1\.q A"):
        wrong.a_matrices()


def test_a_trained_a_is_stored_and_read_back() -> None:
    adapter = AdapterConfig(r=4, protection="separate", read="isolated", method="lora")
    task = random_task(LAYERS, adapter, SharedAdapter(()), trained_a=True)
    effective = SharedAdapter((task,)).effective(1, 1, "isolated")
    assert task.a is not None
    assert all(torch.equal(effective.a[x], task.a[x]) for x in LAYERS)


def test_the_same_bits_have_the_same_digests_wherever_they_are_made() -> None:
    one, two = sequence(3), sequence(3)
    assert one.digests() == two.digests()
    assert len(set(one.digests())) == 3
    renamed = dataclasses.replace(one.adapters[0], task="another-name")
    assert content_digest(renamed) == content_digest(one.adapters[0])


def _flip_value(adapter: TaskAdapter) -> TaskAdapter:
    values = {n: v.clone() for n, v in adapter.values.items()}
    values["m.1.q"].view(torch.int32)[0] ^= 1
    return dataclasses.replace(adapter, values=values)


def _move_mask(adapter: TaskAdapter) -> TaskAdapter:
    masks = {n: m.clone() for n, m in adapter.masks.items()}
    flat = masks["m.1.q"].view(-1)
    inside, outside = int(flat.nonzero()[0]), int((~flat).nonzero()[0])
    flat[inside], flat[outside] = False, True
    return dataclasses.replace(adapter, masks=masks)


def test_one_bit_of_anything_that_decides_its_function_changes_the_digest() -> None:
    adapter = sequence(1).adapters[0]
    variants = [
        adapter,
        _flip_value(adapter),
        _move_mask(adapter),
        dataclasses.replace(adapter, lora_alpha=7.0),
        dataclasses.replace(adapter, base_digest="other"),
        dataclasses.replace(adapter, parents=("p",)),
        dataclasses.replace(adapter, read="isolated"),
        dataclasses.replace(adapter, head={"classifier.bias": torch.zeros(2)}),
        dataclasses.replace(adapter, head={"classifier.bias": torch.ones(2)}),
        dataclasses.replace(adapter, a_digests={**adapter.a_digests, "m.0.q": "x"}),
        dataclasses.replace(adapter, labels=("no", "yes")),
        dataclasses.replace(adapter, labels=("yes", "no")),
    ]
    assert len({content_digest(v) for v in variants}) == len(variants)
    assert mask_digest(_flip_value(adapter)) == mask_digest(adapter)
    assert mask_digest(_move_mask(adapter)) != mask_digest(adapter)


def test_a_head_goes_with_its_task_and_makes_it_more_than_the_base() -> None:
    head = {"classifier.weight": torch.ones(2, 3)}
    shared = random_sequence(LAYERS, settings(), 2, head=head, labels=("no", "yes"))
    assert shared.effective(2, 2, "inherited").head == head
    assert shared.effective(2, 2, "inherited").labels == ("no", "yes")
    assert shared.effective(2, 1, "inherited").head is None
    silent = dataclasses.replace(
        shared.adapters[0], values={n: v * 0 for n, v in shared.adapters[0].values.items()}
    )
    assert SharedAdapter((silent,)).effective(1, 1, "inherited").digest != NO_ADAPTER


def test_the_names_of_a_heads_classes_are_part_of_what_is_read() -> None:
    head = {"classifier.weight": torch.ones(2, 3)}
    first = random_sequence(LAYERS, settings(), 1, head=head, labels=("no", "yes")).adapters[0]
    swapped = dataclasses.replace(first, labels=("yes", "no"))
    digests = [SharedAdapter((x,)).effective(1, 1, "inherited").digest for x in (first, swapped)]
    assert digests[0] != digests[1]


def test_a_shared_a_is_made_once_and_one_of_its_own_for_each_separate_task() -> None:
    shared, separate = sequence(3), sequence(2, "separate")
    matrices = [shared.effective(p, 3, "inherited").a["m.0.q"] for p in (1, 2, 3, 1)]
    assert all(matrix is matrices[0] for matrix in matrices)
    own = [separate.effective(p, 2, "isolated").a["m.0.q"] for p in (1, 2, 1)]
    assert own[0] is own[2]
    assert own[0] is not own[1]


class Clones(TorchDispatchMode):
    """Counts copies of whole tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += func is torch.ops.aten.clone.default
        return func(*args, **(kwargs or {}))


def test_b_is_folded_without_a_copy_for_every_task() -> None:
    shared = sequence(4)
    with Clones() as clones:
        shared.b_at(4)
    assert clones.count == 0


def test_protected_entries_are_the_union_of_write_masks_under_disjoint_alone() -> None:
    shared = sequence(3)
    protected = shared.protected(2)
    for layer in LAYERS:
        expected = shared.write_masks(1)[layer] | shared.write_masks(2)[layer]
        assert torch.equal(protected[layer], expected)
    assert sequence(2, "overlap").protected(2) == {}
    assert sequence(2, "separate").protected(2) == {}
    assert SharedAdapter(()).protected(0) == {}


def test_entries_owned_and_free_always_add_up() -> None:
    capacity = sequence(3).capacity()
    assert capacity.entries == {"m.0.q": 32, "m.0.up": 48, "m.1.q": 32}
    assert [sum(task.values()) for task in capacity.owned] == [28, 28, 28]
    assert capacity.total_free == 112 - 84
    assert sequence(3, "overlap").capacity().total_free == 112


def test_a_task_that_writes_anothers_entries_is_refused_by_layer() -> None:
    first, second = sequence(2).adapters
    thief = dataclasses.replace(second, masks=first.masks, values=first.values)
    with pytest.raises(CheckFailed, match=r"layer m\.0\.q: task task2 writes entries"):
        SharedAdapter((first, thief))
    overlapping = [dataclasses.replace(a, protection="overlap") for a in (first, thief)]
    assert SharedAdapter(tuple(overlapping)).version == 2


@pytest.mark.parametrize(
    "change",
    [{"position": 3}, {"base_digest": "other"}, {"lora_alpha": 1.0}, {"protection": "overlap"}],
    ids=lambda c: next(iter(c)),
)
def test_a_task_of_another_sequence_is_refused(change: dict[str, object]) -> None:
    first, second = sequence(2).adapters
    with pytest.raises(CheckFailed, match="task2"):
        SharedAdapter((first, dataclasses.replace(second, **change)))  # type: ignore[arg-type]


def test_values_that_do_not_fit_their_mask_are_refused_by_layer() -> None:
    adapter = sequence(1).adapters[0]
    short = {n: v[:-1] for n, v in adapter.values.items()}
    with pytest.raises(MaskMismatch, match=r"m\.0\.q\.values"):
        dataclasses.replace(adapter, values=short)


def test_adapters_are_found_by_name() -> None:
    shared = sequence(2)
    assert shared.adapter_of("task2").position == 2
    with pytest.raises(KeyError):
        shared.adapter_of("task9")
