import pytest
import torch

from lori_core.runtime import fingerprint, reference_runtime


def test_the_reference_runtime_is_one_deterministic_thread_and_then_as_before() -> None:
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    with reference_runtime():
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    assert before == (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def test_it_is_left_as_before_when_something_fails_inside() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="inside"), reference_runtime():
        raise RuntimeError("inside")
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_fingerprint_names_what_bits_depend_on_and_is_the_same_twice() -> None:
    found = fingerprint()
    assert found == fingerprint()
    assert found["torch"] == torch.__version__
    assert found["dtype"] == "float32"
    assert fingerprint(torch.bfloat16)["dtype"] == "bfloat16"
    assert {"numpy", "transformers", "peft", "cpu", "cpu_capability", "threads"} <= found.keys()
    assert all(isinstance(value, str) for value in found.values())


def test_fp32_is_computed_whole_inside_and_as_it_was_set_outside() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        outside = fingerprint()
        with reference_runtime():
            inside = fingerprint()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.mkldnn.matmul.fp32_precision = "none"  # as it is when torch is imported
    assert (outside["float32_matmul"], inside["float32_matmul"]) == ("bf16", "ieee")
    with reference_runtime():
        assert fingerprint() == inside


def test_the_fingerprint_says_which_kernels_and_how_many_threads_are_used() -> None:
    with reference_runtime():
        found = fingerprint()
        assert found["threads"] == "1"
        torch.backends.mkldnn.enabled = False
        try:
            assert fingerprint() != found
        finally:
            torch.backends.mkldnn.enabled = True
