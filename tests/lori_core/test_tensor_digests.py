import hashlib

import numpy as np
import pytest
import torch

from lori_core.tensor_digests import sha256_tensor, sha256_tensors


def test_the_digest_is_that_of_type_shape_and_little_endian_bytes() -> None:
    values = np.array([[1.5, -0.0], [np.inf, 3e-41]], dtype="<f4")
    expected = hashlib.sha256(b"float32|2,2|" + values.tobytes()).hexdigest()
    assert sha256_tensor(torch.from_numpy(values)) == expected


def test_strides_do_not_matter_and_shape_type_and_sign_of_zero_do() -> None:
    t = torch.arange(6.0).reshape(2, 3)
    assert sha256_tensor(t) == sha256_tensor(t.t().contiguous().t())
    different = [
        t,
        t.reshape(3, 2),
        t.double(),
        t.to(torch.bfloat16),
        t.index_fill(1, torch.tensor([0]), -0.0),
    ]
    assert len({sha256_tensor(x) for x in different}) == len(different)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.bool,
        torch.int64,
        torch.uint8,
    ],
)
def test_every_stored_type_has_a_digest_that_one_entry_changes(dtype: torch.dtype) -> None:
    t = torch.zeros(3, 5).to(dtype)
    changed = t.clone()
    changed[2, 4] = 1
    assert sha256_tensor(t) != sha256_tensor(changed)


def test_bf16_is_hashed_by_its_own_bits() -> None:
    t = torch.tensor([1.0, -2.5], dtype=torch.bfloat16)
    bits = t.view(torch.int16).numpy().astype("<i2").tobytes()
    assert sha256_tensor(t) == hashlib.sha256(b"bfloat16|2|" + bits).hexdigest()


def test_empty_and_scalar_tensors_have_digests() -> None:
    assert sha256_tensor(torch.empty(0)) == hashlib.sha256(b"float32|0|").hexdigest()
    scalar = hashlib.sha256(b"float32||" + np.float32(2).tobytes()).hexdigest()
    assert sha256_tensor(torch.tensor(2.0)) == scalar


def test_named_tensors_hash_the_same_in_any_order_and_differ_by_name() -> None:
    a, b = torch.ones(2), torch.zeros(2)
    assert sha256_tensors({"a": a, "b": b}) == sha256_tensors({"b": b, "a": a})
    assert sha256_tensors({"a": a, "b": b}) != sha256_tensors({"a": b, "b": a})
