import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import DebertaV2Config, DebertaV2Model

from lori_core.adapters import adapter_shapes
from lori_core.base import (
    base_family,
    find_base,
    load_causal,
    load_encoder,
    load_tokenizer,
    meta_model,
)
from lori_core.base_identity import identify_base
from lori_core.config import AdapterConfig, BaseConfig
from lori_core.errors import BadInput
from lori_core.seeded import seeded_a
from tests.lori_core.adapter_cases import (
    VOCABULARY,
    bert_folder,
    edit_config,
    llama_folder,
    tokenizer_folder,
)


@pytest.fixture
def llama(tmp_path: Path) -> BaseConfig:
    return llama_folder(tmp_path / "llama")


@pytest.fixture
def bert(tmp_path: Path) -> BaseConfig:
    return bert_folder(tmp_path / "bert")


def test_a_causal_base_is_frozen_silent_eager_and_without_dropout_or_cache(
    llama: BaseConfig,
) -> None:
    model = load_causal(llama)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert model.config._attn_implementation == "eager"
    assert model.config.use_cache is False
    assert model.config.attention_dropout == 0.0  # it was stored with 0.1
    model.train()
    ids = torch.tensor([[3, 4, 5]])
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


def test_an_encoder_is_frozen_and_has_no_dropout_even_in_training(bert: BaseConfig) -> None:
    model = load_encoder(bert, 3, seed=0)
    assert not any(p.requires_grad for p in model.parameters())
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.0}
    model.train()
    ids = torch.tensor([[3, 4, 5]])
    assert model(input_ids=ids).logits.shape == (1, 3)
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


def test_weights_stored_in_fp16_are_held_in_fp32_to_the_same_numbers(bert: BaseConfig) -> None:
    model = load_encoder(bert, 2, seed=0)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    stored = load_file(Path(bert.path) / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    assert stored[name].dtype == torch.float16
    assert torch.equal(model.get_parameter(f"bert.{name}"), stored[name].float())


def test_a_base_is_held_in_bf16_when_asked(llama: BaseConfig) -> None:
    model = load_causal(BaseConfig(path=llama.path, dtype="bfloat16"))
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_a_new_head_comes_from_its_seed_and_the_pooler_from_the_base(bert: BaseConfig) -> None:
    before = torch.get_rng_state()
    one, same, other = (load_encoder(bert, 3, seed=s).classifier.weight for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())
    stored = load_file(Path(bert.path) / "model.safetensors")["pooler.dense.weight"].float()
    assert torch.equal(load_encoder(bert, 3, seed=1).bert.pooler.dense.weight, stored)


def test_families_are_told_from_config_alone(llama: BaseConfig, bert: BaseConfig) -> None:
    for base in (llama, bert):
        (Path(base.path) / "model.safetensors").unlink()
    assert base_family(llama) == "causal"
    assert base_family(bert) == "encoder"


def test_a_base_of_one_family_is_not_loaded_as_the_other(
    llama: BaseConfig, bert: BaseConfig
) -> None:
    with pytest.raises(BadInput, match="family encoder"):
        load_causal(bert)
    with pytest.raises(BadInput, match="family causal"):
        load_encoder(llama, 2, seed=0)


def test_the_meta_model_has_the_shapes_and_none_of_the_weights(llama: BaseConfig) -> None:
    (Path(llama.path) / "model.safetensors").unlink()
    model = meta_model(llama)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert len(adapter_shapes(model, AdapterConfig())) == 14


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}, "model_type t5"),
        ({"architectures": []}, "no architecture"),
        ({"is_encoder_decoder": True}, "LlamaForCausalLM"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ({"num_local_experts": 8}, "num_local_experts is 8"),
        ({"n_routed_experts": 64}, "n_routed_experts is 64"),
        ({"model_type": None}, "names no model_type"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_cannot_be_certified_is_refused_from_config_alone(
    llama: BaseConfig, changes: dict[str, object], message: str
) -> None:
    edit_config(llama, **changes)
    with pytest.raises(BadInput, match=message):
        base_family(llama)


def test_a_base_that_does_not_exist_is_refused_without_asking_the_hub(tmp_path: Path) -> None:
    for path in (str(tmp_path / "nowhere"), "./nowhere", "~/nowhere", "a/b/c"):
        with pytest.raises(BadInput, match="does not exist"):
            base_family(BaseConfig(path=path))


def test_a_hub_id_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match="HF_HUB_OFFLINE"):
        find_base(BaseConfig(path="nobody/no-such-model-of-ours"))


def test_a_file_or_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="is not a folder"):
        base_family(BaseConfig(path=str(tmp_path / "file")))
    with pytest.raises(BadInput, match=r"has no config\.json"):
        load_causal(BaseConfig(path=str(tmp_path)))


def test_a_config_that_is_not_json_is_refused(llama: BaseConfig) -> None:
    (Path(llama.path) / "config.json").write_text("{")
    with pytest.raises(BadInput, match="not JSON"):
        base_family(llama)


def test_other_weight_files_are_never_read(llama: BaseConfig) -> None:
    folder = Path(llama.path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"model\.safetensors is missing"):
        load_causal(llama)
    with pytest.raises(BadInput, match=r"model\.safetensors is missing"):
        identify_base(llama.path)


def test_weights_cut_short_are_refused(llama: BaseConfig) -> None:
    file = Path(llama.path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BadInput, match="cannot be loaded"):
        load_causal(llama)
    with pytest.raises(BadInput, match="not a readable safetensors"):
        identify_base(llama.path)


@pytest.mark.parametrize("family", ["causal", "encoder"])
def test_a_base_that_lacks_a_weight_is_refused_and_not_filled_at_random(
    family: str, llama: BaseConfig, bert: BaseConfig
) -> None:
    base = llama if family == "causal" else bert
    file = Path(base.path) / "model.safetensors"
    tensors = load_file(file)
    victim = next(name for name in tensors if "layer" in name and name.endswith("weight"))
    tensors.pop(victim)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(BadInput, match="stores no"):
        load_causal(base) if family == "causal" else load_encoder(base, 2, seed=0)


def drop_weight(base: BaseConfig, *names: str) -> None:
    file = Path(base.path) / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if name not in names}
    save_file(kept, file, metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["encoder.rel_embeddings.weight", "encoder.LayerNorm.bias"])
def test_an_encoder_that_lacks_a_weight_beside_its_blocks_is_refused(
    name: str, tmp_path: Path
) -> None:
    config = DebertaV2Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        relative_attention=True,
        norm_rel_ebd="layer_norm",
        pos_att_type=["p2c", "c2p"],
    )
    DebertaV2Model(config).save_pretrained(tmp_path)
    base = BaseConfig(path=str(tmp_path))
    assert name in load_file(tmp_path / "model.safetensors")
    load_encoder(base, 2, seed=0)
    drop_weight(base, name)
    with pytest.raises(BadInput, match=rf"stores no deberta\.{name}"):
        load_encoder(base, 2, seed=0)


def test_a_pooler_that_the_base_lacks_is_drawn_from_the_seed_by_its_name(bert: BaseConfig) -> None:
    drop_weight(bert, "pooler.dense.weight", "pooler.dense.bias")
    model = load_encoder(bert, 3, seed=7)
    for name, rows in (("bert.pooler.dense.weight", 16), ("classifier.weight", 3)):
        assert torch.equal(model.get_parameter(name), seeded_a(7, name, rows, 16))
    assert not model.get_parameter("bert.pooler.dense.bias").any()


def test_a_config_that_leaves_blocks_of_its_weights_out_is_refused(
    llama: BaseConfig, bert: BaseConfig
) -> None:
    for base in (llama, bert):
        edit_config(base, num_hidden_layers=1)
    with pytest.raises(BadInput, match=r"stores model\.layers\.1\..* leaves out"):
        load_causal(llama)
    with pytest.raises(BadInput, match=r"stores (bert\.)?encoder\.layer\.1\..* leaves out"):
        load_encoder(bert, 2, seed=0)


def test_a_folder_with_its_weights_twice_is_refused(llama: BaseConfig) -> None:
    """transformers would load the one file, and the identity be that of the others."""
    folder = Path(llama.path)
    shutil.copy(folder / "model.safetensors", folder / "shard.safetensors")
    names = load_file(folder / "shard.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "shard.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for use in (load_causal, lambda base: identify_base(base.path)):
        with pytest.raises(BadInput, match=r"holds model\.safetensors and"):
            use(llama)
    (folder / "model.safetensors").unlink()
    load_causal(llama)
    assert identify_base(llama.path).tensors.keys() == names.keys()


def test_a_config_that_names_another_weight_file_is_refused(llama: BaseConfig) -> None:
    folder = Path(llama.path)
    shutil.copy(folder / "model.safetensors", folder / "other.safetensors")
    edit_config(llama, transformers_weights="other.safetensors")
    with pytest.raises(BadInput, match="transformers_weights"):
        load_causal(llama)


def test_an_adapter_in_the_bases_folder_is_refused_and_not_loaded_with_it(
    llama: BaseConfig,
) -> None:
    (Path(llama.path) / "adapter_config.json").write_text("{}")
    for use in (load_causal, base_family, lambda base: identify_base(base.path)):
        with pytest.raises(BadInput, match=r"holds an adapter_config\.json"):
            use(llama)


@pytest.mark.parametrize(
    "text", ["{bad", "{}", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', '{"weight_map": {}}']
)  # fmt: skip
def test_an_index_that_names_no_files_is_refused(text: str, llama: BaseConfig) -> None:
    (Path(llama.path) / "model.safetensors").unlink()
    (Path(llama.path) / "model.safetensors.index.json").write_text(text)
    for use in (load_causal, lambda base: identify_base(base.path)):
        with pytest.raises(BadInput, match=r"model\.safetensors\.index\.json"):
            use(llama)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "abc"},
        {"num_attention_heads": 7},
        {"hidden_act": "nope"},
        {"rope_parameters": {"rope_type": "nope"}},
        {"num_key_value_heads": 0},
        {"dtype": "nope"},
        {"id2label": 3},
    ],
    ids=str,
)
def test_a_config_that_no_model_can_be_built_from_is_refused_in_one_line(
    changes: dict[str, object], llama: BaseConfig
) -> None:
    edit_config(llama, **changes)
    for use in (load_causal, meta_model):
        with pytest.raises(BadInput, match="base ") as told:
            use(llama)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["[]", "3", "{"])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_settings_that_are_no_json_object_are_refused(
    name: str, text: str, llama: BaseConfig
) -> None:
    (Path(llama.path) / name).write_text(text)
    for use in (load_causal, lambda base: identify_base(base.path)):
        with pytest.raises(BadInput, match=name):
            use(llama)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: whole["model"].update(vocab=None),
        lambda whole: whole["model"].update(type="Nope"),
        lambda whole: whole["added_tokens"][0].update(id="x"),
        lambda whole: whole["added_tokens"][0].pop("lstrip"),
        lambda whole: whole.update(pre_tokenizer={"type": "Nope"}),
        lambda whole: whole.update(added_tokens=5),
        lambda whole: whole.pop("model"),
    ],
)
def test_a_fault_deep_in_a_tokenizer_is_one_line(
    spoil: Callable[[dict[str, Any]], object], llama: BaseConfig
) -> None:
    tokenizer_folder(Path(llama.path), 10)
    file = Path(llama.path) / "tokenizer.json"
    whole = json.loads(file.read_text())
    spoil(whole)
    file.write_text(json.dumps(whole))
    with pytest.raises(BadInput, match="its tokenizer cannot be read") as told:
        load_tokenizer(llama)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "[]"),
        ("tokenizer.json", "3"),
        ("tokenizer_config.json", "[]"),
        ("special_tokens_map.json", "[]"),
        ("added_tokens.json", "[]"),
    ],
)
def test_a_tokenizer_of_another_form_is_refused(name: str, text: str, llama: BaseConfig) -> None:
    tokenizer_folder(Path(llama.path), 10)
    (Path(llama.path) / name).write_text(text)
    with pytest.raises(BadInput, match=r"its (tokenizer|\w+\.json) "):
        load_tokenizer(llama)


def test_a_tokenizer_without_padding_takes_its_end_token_and_adds_none(llama: BaseConfig) -> None:
    tokenizer_folder(Path(llama.path), 10)
    tokenizer = load_tokenizer(llama)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 1
    assert len(tokenizer) == 10


def test_added_tokens_that_would_resize_the_embedding_are_refused(llama: BaseConfig) -> None:
    tokenizer_folder(Path(llama.path), VOCABULARY + 1)
    with pytest.raises(BadInput, match=r"41 tokens, its embedding 40.*never resized"):
        load_tokenizer(llama)


def test_a_base_without_a_tokenizer_says_so(llama: BaseConfig) -> None:
    with pytest.raises(BadInput, match="has no tokenizer"):
        load_tokenizer(llama)


def test_for_a_hubs_config_and_tokenizer_no_weights_are_fetched(
    llama: BaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is the one thing that cannot be real here: a folder stands in for its snapshot."""
    import huggingface_hub

    asked: list[list[str]] = []

    def snapshot(repo: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert (repo, revision) == ("some/model", "v1")
        asked.append(allow_patterns)
        return llama.path

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    tokenizer_folder(Path(llama.path), 10)
    base = BaseConfig(path="some/model", revision="v1")
    assert base_family(base) == "causal"
    meta_model(base)
    load_tokenizer(base)
    assert not any("*.safetensors" in patterns for patterns in asked)
    load_causal(base)
    assert "*.safetensors" in asked[-1]
