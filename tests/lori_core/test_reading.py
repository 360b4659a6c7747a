import pytest
import torch
from torch import Tensor

from lori_core.config import Read
from lori_core.errors import MaskMismatch
from lori_core.reading import effective_b, read_mask

W1 = {"q": torch.tensor([[True, False, False, False]])}
W2 = {"q": torch.tensor([[False, True, False, False]])}
W3 = {"q": torch.tensor([[False, False, True, False]])}


@pytest.mark.parametrize(
    ("read", "position", "expected"),
    [
        ("isolated", 1, [1, 0, 0, 0]),
        ("isolated", 2, [0, 1, 0, 0]),
        ("inherited", 1, [1, 0, 0, 0]),
        ("inherited", 2, [1, 1, 0, 0]),
        ("inherited", 3, [1, 1, 1, 0]),
        ("cumulative", 1, [1, 1, 1, 0]),
        ("cumulative", 3, [1, 1, 1, 0]),
    ],
)
def test_each_mode_reads_what_it_is_defined_to_read(
    read: Read, position: int, expected: list[int]
) -> None:
    assert read_mask(read, position, [W1, W2, W3])["q"].int().tolist() == [expected]


@pytest.mark.parametrize(
    ("read", "expected"),
    [("isolated", [0, 0, 0, 0]), ("inherited", [1, 1, 0, 0]), ("cumulative", [1, 1, 0, 0])],
)
def test_a_task_not_yet_written_reads_what_it_will_see_in_training(
    read: Read, expected: list[int]
) -> None:
    assert read_mask(read, 3, [W1, W2])["q"].int().tolist() == [expected]


@pytest.mark.parametrize("read", ["isolated", "inherited", "cumulative"])
def test_before_the_first_task_there_is_nothing_to_read(read: Read) -> None:
    assert read_mask(read, 1, []) == {}


@pytest.mark.parametrize("read", ["isolated", "inherited"])
def test_later_tasks_never_change_what_an_earlier_one_reads(read: Read) -> None:
    then = read_mask(read, 2, [W1, W2])["q"]
    assert torch.equal(then, read_mask(read, 2, [W1, W2, W3])["q"])


def test_positions_start_at_one() -> None:
    with pytest.raises(ValueError, match="start at 1"):
        read_mask("isolated", 0, [W1])


def test_reading_leaves_the_masks_and_b_as_they_are() -> None:
    b, kept = {"q": torch.ones(1, 4)}, W1["q"].clone()
    read: dict[str, Tensor] = effective_b(b, read_mask("inherited", 1, [W1]))
    read["q"].fill_(7)
    assert bool((b["q"] == 1).all())
    assert torch.equal(W1["q"], kept)


def test_what_is_not_read_is_plus_zero_and_what_is_read_keeps_its_bits() -> None:
    b = {"q": torch.tensor([[-0.0, -1.5, float("inf"), float("nan")]]), "v": torch.ones(1, 4)}
    read = effective_b(b, {"q": torch.tensor([[True, True, False, False]])})
    assert read["q"].view(torch.int32).tolist() == [
        [-(2**31), b["q"].view(torch.int32)[0, 1].item(), 0, 0]
    ]
    assert not read["v"].any()


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(MaskMismatch):
        effective_b({"q": torch.ones(2, 4)}, W1)
