from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MixtralConfig,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from lori_core.adapters import (
    TrainableCounts,
    adapter_shapes,
    attach,
    base_parameters,
    lora_layers,
    read_a,
    read_b,
    refuse_trained_base,
    refuse_wide_rank,
    storage_dtype,
    trainable_counts,
    write_a,
    write_b,
)
from lori_core.base import load_causal
from lori_core.config import AdapterConfig
from lori_core.errors import BadInput, MaskMismatch, UnknownLayers
from lori_core.seeded import seeded_a
from tests.lori_core.adapter_cases import llama_folder

ALL = AdapterConfig()


def llama_8b() -> LlamaConfig:
    return LlamaConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
    )


def mistral_7b() -> MistralConfig:
    return MistralConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=32000,
    )


def tiny_llama() -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=20,
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )


@pytest.mark.parametrize("config", [llama_8b(), mistral_7b()], ids=["llama-3-8b", "mistral-7b"])
def test_the_papers_counts_hold_on_the_meta_device(config: LlamaConfig | MistralConfig) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shapes = adapter_shapes(model, ALL)
    assert len(shapes) == 7 * 32
    assert trainable_counts(shapes, 32, 0.9) == TrainableCounts(83_886_080, 44_040_192, 4_404_019)


def test_counts_are_those_of_the_parameters_peft_makes() -> None:
    model = tiny_llama()
    shapes = adapter_shapes(model, ALL)
    peft_model = get_peft_model(model, LoraConfig(r=3, target_modules="all-linear"))
    sizes = {n: p.numel() for n, p in peft_model.named_parameters() if p.requires_grad}
    counts = trainable_counts(shapes, 3, 0.5)
    assert counts.lora == sum(sizes.values())
    assert counts.lori_d == sum(n for name, n in sizes.items() if "lora_B" in name)
    assert counts.lori_s == round(0.5 * counts.lori_d)


def test_all_linear_is_every_linear_layer_of_the_blocks_in_the_models_order() -> None:
    shapes = adapter_shapes(tiny_llama(), ALL)
    assert list(shapes)[:7] == [
        f"model.layers.0.{name}"
        for name in (
            "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
            "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
        )
    ]  # fmt: skip
    assert shapes["model.layers.1.mlp.down_proj"] == (8, 12)
    assert shapes["model.layers.1.self_attn.k_proj"] == (4, 8)
    assert not any("lm_head" in name for name in shapes)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_an_encoders_pooler_and_classifier_are_head_and_not_adapted(family: str) -> None:
    small = {
        "vocab_size": 20, "hidden_size": 8, "intermediate_size": 12,
        "num_hidden_layers": 1, "num_attention_heads": 2,
    }  # fmt: skip
    model: nn.Module = (
        BertForSequenceClassification(BertConfig(**small))
        if family == "bert"
        else RobertaForSequenceClassification(RobertaConfig(**small))
    )
    block = f"{family}.encoder.layer.0"
    assert list(adapter_shapes(model, ALL)) == [
        f"{block}.{name}"
        for name in (
            "attention.self.query", "attention.self.key", "attention.self.value",
            "attention.output.dense", "intermediate.dense", "output.dense",
        )
    ]  # fmt: skip
    dense = adapter_shapes(model, AdapterConfig(target_modules=("dense",)))
    assert len(dense) == 3
    assert all(name.startswith(block) for name in dense)


def test_named_targets_are_taken_by_their_last_component() -> None:
    shapes = adapter_shapes(tiny_llama(), AdapterConfig(target_modules=("q_proj", "v_proj")))
    assert {name.rsplit(".", 1)[-1] for name in shapes} == {"q_proj", "v_proj"}
    assert len(shapes) == 4


@pytest.mark.parametrize("name", ["q_prj", "lm_head", "embed_tokens", "self_attn"])
def test_a_name_that_is_no_linear_layer_of_the_blocks_is_refused_with_the_known_ones(
    name: str,
) -> None:
    with pytest.raises(UnknownLayers, match=rf"{name} match no linear layer.*q_proj"):
        adapter_shapes(tiny_llama(), AdapterConfig(target_modules=("q_proj", name)))


def test_a_rank_that_no_adapted_layer_can_have_is_refused_with_the_widths() -> None:
    shapes = {"narrow": (8, 64), "wide": (64, 16)}
    refuse_wide_rank(shapes, 16)
    with pytest.raises(
        BadInput, match=r"adapter.r is 17 .*, wide, is 64 x 16: expected at most 16"
    ):
        refuse_wide_rank(shapes, 17)


def test_fused_experts_are_refused_and_not_skipped_silently() -> None:
    config = MixtralConfig(
        vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, num_local_experts=2,
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(BadInput, match="several experts in one tensor"):
        adapter_shapes(model, ALL)


def test_a_base_without_linear_layers_says_why() -> None:
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=20))
    with pytest.raises(BadInput, match="Conv1D"):
        adapter_shapes(model, ALL)


def test_shapes_are_the_same_with_an_adapter_on() -> None:
    model = tiny_llama()
    bare = adapter_shapes(model, ALL)
    assert adapter_shapes(attach(model, AdapterConfig(r=2), seed=0), ALL) == bare


def test_attach_changes_nothing_the_model_computes() -> None:
    model, ids = tiny_llama().eval(), torch.tensor([[1, 2, 3]])
    before = model(input_ids=ids).logits
    after = attach(model, AdapterConfig(r=2), seed=0)(input_ids=ids).logits
    assert torch.equal(before, after)


def test_a_is_the_seeded_one_and_b_is_zero() -> None:
    peft_model = attach(tiny_llama(), AdapterConfig(r=2, lora_alpha=8.0), seed=5)
    for name, a in read_a(peft_model).items():
        assert torch.equal(a, seeded_a(5, name, 2, a.shape[1]))
    assert not any(b.any() for b in read_b(peft_model).values())
    assert {layer.scaling["default"] for layer in lora_layers(peft_model).values()} == {4.0}


def test_only_b_trains_and_a_stays_frozen_when_adapters_are_switched() -> None:
    peft_model = attach(tiny_llama(), AdapterConfig(r=2), seed=0)
    for _ in range(2):
        trained = [n for n, p in peft_model.named_parameters() if p.requires_grad]
        assert len(trained) == 14
        assert all("lora_B" in name for name in trained)
        peft_model.set_adapter("default")  # undoes a bare requires_grad_(False)


def test_freezing_a_here_freezes_no_other_lora_of_the_process() -> None:
    attach(tiny_llama(), AdapterConfig(r=2), seed=0)
    other = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules="all-linear"))
    other.set_adapter("default")
    assert any("lora_A" in n for n, p in other.named_parameters() if p.requires_grad)


def test_method_lora_trains_a_as_well() -> None:
    adapter = AdapterConfig(r=2, method="lora", protection="separate")
    peft_model = attach(tiny_llama(), adapter, seed=0)
    trained = [n for n, p in peft_model.named_parameters() if p.requires_grad]
    assert sum("lora_A" in n for n in trained) == sum("lora_B" in n for n in trained) == 14


def test_attach_leaves_the_global_random_state_alone() -> None:
    model = tiny_llama()
    before = torch.get_rng_state()
    attach(model, AdapterConfig(r=2), seed=0)
    assert torch.equal(before, torch.get_rng_state())


def test_on_a_bf16_base_a_holds_bf16_numbers_and_b_stays_fp32() -> None:
    peft_model = attach(tiny_llama().to(torch.bfloat16), AdapterConfig(r=2), seed=0)
    assert storage_dtype(peft_model) == torch.bfloat16
    for name, a in read_a(peft_model).items():
        assert torch.equal(a, seeded_a(0, name, 2, a.shape[1]).to(torch.bfloat16).to(a.dtype))
    assert {b.dtype for b in read_b(peft_model).values()} == {torch.float32}


def test_what_is_written_is_read_back_as_a_copy() -> None:
    peft_model = attach(tiny_llama(), AdapterConfig(r=2), seed=0)
    b = {n: torch.randn_like(x) for n, x in read_b(peft_model).items()}
    a = {n: torch.randn_like(x) for n, x in read_a(peft_model).items()}
    write_b(peft_model, b)
    write_a(peft_model, a)
    assert all(torch.equal(x, b[n]) for n, x in read_b(peft_model).items())
    assert all(torch.equal(x, a[n]) for n, x in read_a(peft_model).items())
    read_b(peft_model)["model.layers.0.self_attn.q_proj"].zero_()
    assert read_b(peft_model)["model.layers.0.self_attn.q_proj"].any()


def test_a_b_of_another_shape_is_refused_by_name() -> None:
    peft_model = attach(tiny_llama(), AdapterConfig(r=2), seed=0)
    with pytest.raises(MaskMismatch, match=r"layers\.0\.self_attn\.q_proj"):
        write_b(peft_model, {"model.layers.0.self_attn.q_proj": torch.zeros(8, 3)})


def test_the_linear_layer_computes_wx_plus_scaled_bax() -> None:
    peft_model = attach(tiny_llama(), AdapterConfig(r=2, lora_alpha=3.0), seed=0)
    name = "model.layers.0.mlp.up_proj"
    b = torch.randn(12, 2)
    write_b(peft_model, {name: b})
    layer, x = lora_layers(peft_model)[name], torch.randn(5, 8)
    expected = x @ layer.base_layer.weight.T + 1.5 * x @ seeded_a(0, name, 2, 8).T @ b.T
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("option", ["use_dora", "use_rslora", "lora_bias"])
def test_forms_of_lora_that_void_a_certificate_are_refused(option: str) -> None:
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=20,
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    )
    config = LoraConfig(r=2, target_modules=["query"], **{option: True})
    with pytest.raises(BadInput, match=r"bert\.encoder\.layer\.0\.attention\.self\.query"):
        lora_layers(get_peft_model(model, config))


@pytest.mark.parametrize("name", ["model.norm.weight", "model.embed_tokens.weight"])
def test_a_base_that_trains_is_refused_by_the_parameters_name(name: str) -> None:
    model = tiny_llama()
    peft_model = attach(model, AdapterConfig(r=2), seed=0)
    refuse_trained_base(peft_model)
    model.get_parameter(name).requires_grad_(True)
    with pytest.raises(BadInput, match=name.replace(".", r"\.")):
        refuse_trained_base(peft_model)
    refuse_trained_base(peft_model, head=[name])


def test_the_base_is_named_with_an_adapter_as_without() -> None:
    model = tiny_llama()
    names = {n for n, _ in [*model.named_parameters(), *model.named_buffers()]}
    assert set(base_parameters(attach(model, AdapterConfig(r=2), seed=0))) == names


def test_a_loaded_base_takes_an_adapter_of_named_layers(tmp_path: Path) -> None:
    model = load_causal(llama_folder(tmp_path))
    adapter = AdapterConfig(r=2, target_modules=("down_proj",))
    assert len(lora_layers(attach(model, adapter, seed=0))) == 2
