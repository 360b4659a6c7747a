from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lori_core.config import AdapterConfig, Granularity
from lori_core.errors import BadInput, CapacityError, InvalidSparsity, MaskMismatch
from lori_core.masks import (
    group_of,
    magnitude_masks,
    overlap,
    pack_mask,
    rank_masks,
    task_masks,
    union,
    unpack_mask,
)

LLAMA_LAYERS = [
    f"model.layers.{block}.{name}"
    for block in range(3)
    for name in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj")
]
GRANULARITIES: tuple[Granularity, ...] = ("model", "module", "projection", "layer", "matrix")


def reference(
    weights: dict[str, np.ndarray], count: int, protected: dict[str, np.ndarray]
) -> set[tuple[str, int]]:
    """The rule said plainly: sort all free entries by (-|value|, layer order, row-major), take k."""
    entries = [
        (-abs(float(value)), order, index, layer)
        for order, (layer, b) in enumerate(weights.items())
        for index, value in enumerate(b.reshape(-1))
        if not protected[layer].reshape(-1)[index]
    ]
    return {(layer, index) for _, _, index, layer in sorted(entries)[:count]}


def marked(masks: dict[str, torch.Tensor]) -> set[tuple[str, int]]:
    return {
        (layer, int(i))
        for layer, mask in masks.items()
        for i in mask.reshape(-1).nonzero().flatten()
    }


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], float]:
    rank = draw(st.integers(1, 4))
    # few distinct values, so that ties are the rule; both signs of zero; the largest and smallest
    value = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0, 1e-45, 3e38, float("inf")])
    weights, protected = {}, {}
    for layer in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, 6)) * rank
        numbers = draw(st.lists(value, min_size=n, max_size=n))
        weights[f"layer{layer}"] = np.array(numbers, dtype=np.float32).reshape(-1, rank)
        fixed = draw(st.lists(st.booleans(), min_size=n, max_size=n))
        protected[f"layer{layer}"] = np.array(fixed).reshape(-1, rank)
    return weights, protected, draw(st.floats(0, 1, exclude_max=True))


@settings(max_examples=200, deadline=None)
@given(cases())
def test_magnitude_masks_are_those_of_a_plain_sort(
    case: tuple[dict[str, np.ndarray], dict[str, np.ndarray], float],
) -> None:
    weights, protected, sparsity = case
    total = sum(b.size for b in weights.values())
    free = total - sum(int(p.sum()) for p in protected.values())
    count = round((1 - sparsity) * total)
    tensors = {layer: torch.from_numpy(b) for layer, b in weights.items()}
    fixed = {layer: torch.from_numpy(p) for layer, p in protected.items()}
    if count > free:
        with pytest.raises(CapacityError, match=f"{count} .* {free} are free"):
            magnitude_masks(tensors, sparsity=sparsity, protected=fixed)
        return
    masks = magnitude_masks(tensors, sparsity=sparsity, protected=fixed)
    assert list(masks) == list(weights)
    assert all(m.dtype == torch.bool and m.shape == weights[x].shape for x, m in masks.items())
    assert marked(masks) == reference(weights, count, protected)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.99, 0.999])
def test_magnitude_masks_mark_exactly_the_rounded_share(sparsity: float) -> None:
    b = {f"layer{i}": torch.randn(n, 8) for i, n in enumerate((10, 20, 33))}
    masks = magnitude_masks(b, sparsity=sparsity)
    assert sum(int(m.sum()) for m in masks.values()) == round((1 - sparsity) * 504)


@pytest.mark.parametrize("sparsity", [1.0, -0.1, 1.5, float("nan")])
def test_a_sparsity_outside_its_bounds_is_refused(sparsity: float) -> None:
    with pytest.raises(InvalidSparsity):
        magnitude_masks({"q": torch.ones(2, 2)}, sparsity=sparsity)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_every_type_of_weight_is_ranked(dtype: torch.dtype) -> None:
    masks = magnitude_masks({"q": torch.tensor([[3.0, -0.1], [0.2, -4.0]]).to(dtype)}, sparsity=0.5)
    assert masks["q"].tolist() == [[True, False], [False, True]]


def test_doubles_are_ranked_as_doubles() -> None:
    close = torch.tensor([[1.0, 1.0 + 1e-12]], dtype=torch.float64)
    assert magnitude_masks({"q": close}, sparsity=0.5)["q"].tolist() == [[False, True]]


def test_the_weights_and_the_protected_masks_are_not_touched() -> None:
    b, fixed = torch.randn(4, 4), torch.rand(4, 4) > 0.5
    before = b.clone(), fixed.clone()
    magnitude_masks({"q": b}, sparsity=0.9, protected={"q": fixed})
    assert torch.equal(b, before[0])
    assert torch.equal(fixed, before[1])


def test_a_protected_mask_of_another_shape_names_its_layer() -> None:
    with pytest.raises(MaskMismatch, match="'q'"):
        magnitude_masks(
            {"q": torch.ones(2, 2)}, sparsity=0.5, protected={"q": torch.ones(4, 1) > 0}
        )


def test_a_protected_layer_that_is_not_there_is_told_and_not_ignored() -> None:
    scores = {"q_proj": torch.ones(2, 3)}
    protected = {"model.q_proj": torch.ones(2, 3, dtype=torch.bool)}
    with pytest.raises(MaskMismatch, match=r"layer 'model.q_proj': mask is \(2, 3\) but B is \(\)"):
        magnitude_masks(scores, sparsity=0.5, protected=protected)


def test_a_layer_left_out_of_protected_is_free() -> None:
    masks = magnitude_masks(
        {"q": torch.ones(1, 2), "v": torch.ones(1, 2)},
        sparsity=0.5,
        protected={"q": torch.tensor([[True, True]])},
    )
    assert masks["v"].all()
    assert not masks["q"].any()


def test_training_that_diverged_is_told_and_not_ranked() -> None:
    with pytest.raises(BadInput, match="not a number"):
        magnitude_masks({"q": torch.tensor([[float("nan"), 1.0]])}, sparsity=0.5)


def test_five_granularities_group_a_llama_as_the_paper_does() -> None:
    groups = {g: {group_of(layer, g) for layer in LLAMA_LAYERS} for g in GRANULARITIES}
    assert groups["model"] == {"model"}
    assert groups["module"] == {"attention", "mlp"}
    assert len(groups["projection"]) == 4
    assert groups["layer"] == {f"model.layers.{block}" for block in range(3)}
    assert groups["matrix"] == set(LLAMA_LAYERS)


def test_a_bert_is_grouped_by_the_whole_path_within_its_block() -> None:
    # three different projections of a BERT are called `dense`
    block = "bert.encoder.layer.1"
    names = ["attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense"]
    assert [group_of(f"{block}.{n}", "projection") for n in names] == names
    modules = [group_of(f"{block}.{n}", "module") for n in names]
    assert modules == ["attention", "attention", "mlp", "mlp"]


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_each_group_gets_its_share_and_its_best_entries(granularity: Granularity) -> None:
    scores = {layer: torch.rand(5, 4) + i for i, layer in enumerate(LLAMA_LAYERS)}
    masks = rank_masks(scores, budget=48, granularity=granularity)
    assert sum(int(m.sum()) for m in masks.values()) == 48
    groups: dict[str, list[str]] = {}
    for layer in LLAMA_LAYERS:
        groups.setdefault(group_of(layer, granularity), []).append(layer)
    for group in groups.values():
        best = reference(
            {x: scores[x].numpy() for x in group},
            48 * len(group) // len(LLAMA_LAYERS),
            {x: np.zeros((5, 4), dtype=bool) for x in group},
        )
        assert marked({x: masks[x] for x in group}) == best


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_ranking_keeps_exact_counts_protection_and_floors_at_every_granularity(
    data: st.DataObject,
) -> None:
    scores = {
        layer: torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=8, max_size=8)))
        .float()
        .reshape(4, 2)
        for layer in LLAMA_LAYERS[:5]
    }
    fixed = {
        layer: torch.tensor(data.draw(st.lists(st.booleans(), min_size=8, max_size=8))).reshape(
            4, 2
        )
        for layer in scores
    }
    floors = {layer: data.draw(st.integers(0, 3)) for layer in scores}
    room = sum(max(0, 8 - int(fixed[x].sum()) - floors[x]) for x in scores)
    budget = data.draw(st.integers(0, room))
    masks = rank_masks(
        scores,
        budget=budget,
        granularity=data.draw(st.sampled_from(GRANULARITIES)),
        protected=fixed,
        floors=floors,
    )
    assert sum(int(m.sum()) for m in masks.values()) == budget
    for layer, mask in masks.items():
        assert not (mask & fixed[layer]).any()
        left = 8 - int(fixed[layer].sum()) - int(mask.sum())
        assert left >= min(floors[layer], 8 - int(fixed[layer].sum()))


def test_a_floor_sends_the_budget_to_the_next_best_entries_elsewhere() -> None:
    scores = {"q": torch.tensor([[9.0, 8.0, 7.0]]), "v": torch.tensor([[1.0, 3.0, 2.0]])}
    masks = rank_masks(scores, budget=3, floors={"q": 1, "v": 1})
    assert masks["q"].tolist() == [[True, True, False]]
    assert masks["v"].tolist() == [[False, True, False]]


def test_more_than_the_floors_leave_is_refused_with_the_numbers() -> None:
    with pytest.raises(CapacityError, match="3 entries of B are needed and 2 are free"):
        rank_masks({"q": torch.ones(1, 3)}, budget=3, floors={"q": 1})


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_ten_planned_tasks_fit_disjointly_and_keep_their_floors(granularity: Granularity) -> None:
    generator = torch.Generator().manual_seed(0)
    adapter = AdapterConfig(r=4, tasks_planned=10, granularity=granularity)
    sizes = {layer: 3 + 7 * (i % 4) for i, layer in enumerate(LLAMA_LAYERS)}
    protected = {layer: torch.zeros(n, 4, dtype=torch.bool) for layer, n in sizes.items()}
    for position in range(1, 11):
        # one matrix draws all the interest: without floors it would be full after a few tasks
        change = {x: torch.rand(n, 4, generator=generator) for x, n in sizes.items()}
        change[LLAMA_LAYERS[0]] += 10
        masks = task_masks(
            change, adapter=adapter, sparsity=0.9, position=position, protected=protected
        )
        for layer, mask in masks.items():
            assert not (mask & protected[layer]).any()
            free = int((~(protected[layer] | mask)).sum())
            fair = Fraction(mask.numel() * (10 - position), 10)
            assert free >= fair / 2
        protected = union([protected, masks])
    total = 4 * sum(sizes.values())
    assert sum(int(p.sum()) for p in protected.values()) == min(total, 10 * round(0.1 * total))


@pytest.mark.parametrize("planned", [2, 3, 6, 7])
def test_tasks_that_fill_b_exactly_are_not_refused_for_a_rounded_entry(planned: int) -> None:
    adapter = AdapterConfig(r=1, tasks_planned=planned)
    for entries in range(planned**2, planned**2 + planned):
        protected: dict[str, torch.Tensor] = {}
        for position in range(1, planned + 1):
            masks = task_masks(
                {"m.0.q": torch.rand(entries, 1)},
                adapter=adapter,
                sparsity=1 - 1 / planned,
                position=position,
                protected=protected,
            )
            protected = union([protected, masks])


def test_a_task_with_its_own_low_sparsity_is_not_refused_for_the_floors() -> None:
    adapter = AdapterConfig(r=4, tasks_planned=10)
    masks = task_masks({"m.0.q": torch.rand(8, 4)}, adapter=adapter, sparsity=0.0, position=1)
    assert masks["m.0.q"].all()


def test_under_overlap_nothing_is_protected_and_no_floor_holds() -> None:
    change = {"m.0.q": torch.ones(4, 1) * 5, "m.0.v": torch.ones(4, 1)}
    adapter = AdapterConfig(r=1, tasks_planned=2, protection="overlap")
    everything = {layer: torch.ones(4, 1, dtype=torch.bool) for layer in change}
    masks = task_masks(change, adapter=adapter, sparsity=0.5, position=2, protected=everything)
    assert masks["m.0.q"].all()
    assert not masks["m.0.v"].any()


@given(st.integers(1, 20), st.integers(1, 5), st.randoms())
def test_a_packed_mask_unpacks_to_itself_at_a_bit_an_entry(rows: int, cols: int, rng) -> None:  # type: ignore[no-untyped-def]
    mask = torch.tensor([rng.random() < 0.3 for _ in range(rows * cols)]).reshape(rows, cols)
    packed = pack_mask(mask)
    assert packed.numel() == -(-rows * cols // 8)
    assert torch.equal(unpack_mask(packed, (rows, cols)), mask)


def test_the_first_entry_is_the_highest_bit() -> None:
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[0, 0] = mask[0, 2] = mask[2, 2] = True
    assert pack_mask(mask).tolist() == [0b10100000, 0b10000000]


@pytest.mark.parametrize("packed", [[255], [255, 128, 0], [0, 1]])
def test_bits_that_are_not_of_the_shape_are_refused(packed: list[int]) -> None:
    with pytest.raises(MaskMismatch):
        unpack_mask(torch.tensor(packed, dtype=torch.uint8), (3, 3))


def test_overlap_counts_the_entries_each_pair_shares() -> None:
    a = {"q": torch.tensor([[True, True, False, False]])}
    b = {"q": torch.tensor([[False, True, True, True]])}
    assert overlap([a, b]) == ((2, 1), (1, 3))


def test_a_union_of_nothing_is_empty_and_of_one_is_a_copy() -> None:
    mask = {"q": torch.tensor([[True, False]])}
    assert union([]) == {}
    union([mask])["q"][0, 1] = True
    assert mask["q"].tolist() == [[True, False]]
