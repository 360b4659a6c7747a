import dataclasses
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from lori_core.base import load_causal, load_encoder
from lori_core.config import BaseConfig
from lori_core.encoding import EncodedRow
from lori_core.errors import BadInput, CheckFailed
from lori_core.probes import (
    ProbeInput,
    inputs_digest,
    load_logits,
    logit_gap,
    probe,
    probe_inputs,
    save_logits,
)
from lori_core.tensor_digests import sha256_tensor, sha256_tensors
from tests.lori_core.adapter_cases import bert_folder, llama_folder, probe_rows


@pytest.fixture
def llama(tmp_path: Path) -> nn.Module:
    return load_causal(llama_folder(tmp_path))


def test_probing_twice_gives_the_same_bits_whatever_the_threads(llama: nn.Module) -> None:
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(probe(llama, probe_rows()))
        assert torch.get_num_threads() == count
    torch.set_num_threads(threads)
    assert results[0].digest == results[1].digest
    assert torch.equal(results[0].logits, results[1].logits)


def test_the_logits_kept_are_those_of_the_last_prompt_position(llama: nn.Module) -> None:
    rows = probe_rows()
    kept = probe(llama, rows).logits
    for logits, row in zip(kept, rows, strict=True):
        with torch.inference_mode():
            prompt = torch.tensor([row.input_ids[: row.prompt_length]])
            torch.testing.assert_close(logits, llama(input_ids=prompt).logits[0, -1])


def test_an_encoder_is_probed_by_its_class_logits(tmp_path: Path) -> None:
    model = load_encoder(bert_folder(tmp_path), 3, seed=0)
    result = probe(model, probe_rows())
    assert result.logits.shape == (4, 3)
    row = probe_rows()[2]
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([row.input_ids])).logits[0]
    torch.testing.assert_close(result.logits[2], expected)


def test_one_bit_of_one_weight_changes_the_digest(llama: nn.Module) -> None:
    before = probe(llama, probe_rows())
    weight = llama.get_parameter("model.layers.1.mlp.up_proj.weight")
    with torch.no_grad():
        weight[0, 0] *= 1 + 2**-10
    assert probe(llama, probe_rows()).digest != before.digest


def test_inputs_their_order_and_their_prompts_are_part_of_the_digest(llama: nn.Module) -> None:
    rows = probe_rows()
    other = dataclasses.replace(rows[0], prompt_length=2)
    variants = [rows, rows[::-1], rows[:3], (other, *rows[1:])]
    assert len({probe(llama, inputs).digest for inputs in variants}) == 4


def test_the_model_is_probed_without_dropout_and_left_in_its_mode(llama: nn.Module) -> None:
    llama.train()
    probe(llama, probe_rows())
    assert llama.training


def test_progress_is_told_row_by_row(llama: nn.Module) -> None:
    told: list[int] = []
    probe(llama, probe_rows(), told.append)
    assert told == [1, 2, 3, 4]


def test_no_inputs_and_no_cpu_are_refused(llama: nn.Module) -> None:
    with pytest.raises(BadInput, match="there are none"):
        probe(llama, ())
    with pytest.raises(BadInput, match="not on the CPU"):
        probe(llama.to("meta"), probe_rows())


def test_attention_that_is_not_eager_is_refused(llama: nn.Module) -> None:
    assert isinstance(llama, PreTrainedModel)
    llama.set_attn_implementation("sdpa")
    with pytest.raises(BadInput, match="attention is sdpa"):
        probe(llama, probe_rows())


def test_a_bf16_base_is_probed_in_fp32_and_left_as_it_was(tmp_path: Path) -> None:
    base = llama_folder(tmp_path, dtype=torch.bfloat16)
    small = load_causal(BaseConfig(path=base.path, dtype="bfloat16"))
    before = sha256_tensors(dict(chain(small.named_parameters(), small.named_buffers())))
    result = probe(small, probe_rows())
    assert result.digest == probe(load_causal(base), probe_rows()).digest
    assert sha256_tensors(dict(chain(small.named_parameters(), small.named_buffers()))) == before
    assert {p.dtype for p in small.parameters()} == {torch.bfloat16}


def test_a_lower_precision_that_torch_is_set_to_does_not_reach_the_probes() -> None:
    wide = nn.Linear(256, 256)

    class Model(nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> object:
            x = torch.sin(torch.arange(256.0) + input_ids.sum())
            return CausalLMOutput(logits=wide(x.expand(1, 64, 256)))

    before = probe(Model(), probe_rows())
    torch.set_float32_matmul_precision("medium")
    try:
        after = probe(Model(), probe_rows())
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.mkldnn.matmul.fp32_precision = "none"  # as it is when torch is imported
    assert after.digest == before.digest


def test_the_digest_of_the_inputs_covers_every_part_of_them() -> None:
    rows = probe_rows()
    variants = [
        rows,
        rows[::-1],
        (dataclasses.replace(rows[0], id="other"), *rows[1:]),
        (dataclasses.replace(rows[0], prompt_length=2), *rows[1:]),
        (dataclasses.replace(rows[0], input_ids=(3,)), *rows[1:]),
    ]
    assert len({inputs_digest(each) for each in variants}) == len(variants)
    assert inputs_digest(rows) == inputs_digest(probe_rows())


def test_the_gap_of_logits_is_told_for_whole_ones_of_the_same_shape_alone() -> None:
    stored = torch.tensor([[1.0, 2.0]])
    digest = sha256_tensor(stored)
    assert logit_gap(stored, digest, torch.tensor([[1.0, 1.5]])) == 0.5
    for certified, found in ((None, stored), (stored + 1, stored), (stored, stored[:, :1])):
        with pytest.raises(CheckFailed, match="runtime differs"):
            logit_gap(certified, digest, found)


def test_probes_are_the_first_rows() -> None:
    rows = [EncodedRow(f"r{i}", (1, 2, 3), (-100, 2, 3), i % 2) for i in range(70)]
    inputs = probe_inputs(rows)
    assert len(inputs) == 64
    assert inputs[0] == ProbeInput("r0", (1, 2, 3), 1)
    assert len(probe_inputs(rows, 3)) == 3


def test_logits_come_back_from_their_file_to_the_bit(tmp_path: Path) -> None:
    logits = {"math": torch.randn(4, 5), "code": torch.randn(2, 5)}
    save_logits(logits, tmp_path / "probes.safetensors")
    read = load_logits(tmp_path / "probes.safetensors")
    assert read.keys() == logits.keys()
    assert all(torch.equal(read[task], logits[task]) for task in logits)
    with pytest.raises(BadInput, match="stored probe logits"):
        load_logits(tmp_path / "nothing")
