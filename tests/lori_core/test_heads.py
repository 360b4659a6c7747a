"""Heads of encoders."""

import pytest
import torch
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from lori_core.errors import BadInput
from lori_core.heads import (
    freeze_head,
    head_parameters,
    head_state,
    load_head,
    pretrained_head,
    restart_head,
)
from lori_core.seeded import seeded_a
from tests.lori_core.training_cases import (
    bert_with_adapter,
    same,
    tiny_bert,
    tiny_llama,
)

BERT_HEAD = ["bert.pooler.dense.weight", "bert.pooler.dense.bias"]
CLASSIFIER = ["classifier.weight", "classifier.bias"]


def _roberta() -> PreTrainedModel:
    return RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=2,
        )
    )  # fmt: skip


def _distilbert() -> PreTrainedModel:
    return DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=20, dim=8, hidden_dim=8, n_layers=1, n_heads=2)
    )


def _llama() -> PreTrainedModel:
    return LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=2, pad_token_id=0,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (tiny_bert, BERT_HEAD + CLASSIFIER),
        (bert_with_adapter, BERT_HEAD + CLASSIFIER),
        (
            _roberta,
            ["classifier.dense.weight", "classifier.dense.bias", "classifier.out_proj.weight",
             "classifier.out_proj.bias"],
        ),
        (_distilbert, ["pre_classifier.weight", "pre_classifier.bias", *CLASSIFIER]),
        (_llama, ["score.weight"]),
    ],
)  # fmt: skip
def test_a_head_is_everything_after_the_encoder(model, names: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert list(head_parameters(model())) == names


def test_a_restarted_head_has_the_bases_pooler_and_a_seeded_classifier() -> None:
    base = pretrained_head(tiny_bert())
    assert list(base) == BERT_HEAD
    model = tiny_bert()
    with torch.no_grad():
        for parameter in head_parameters(model).values():
            parameter.add_(1.0)
    restart_head(model, base, seed=7, num_labels=3)
    state = head_state(model)
    assert all(torch.equal(state[name], base[name]) for name in BERT_HEAD)
    assert torch.equal(state["classifier.weight"], seeded_a(7, "classifier.weight", 3, 16))
    assert torch.equal(state["classifier.bias"], torch.zeros(3))
    assert all(parameter.requires_grad for parameter in head_parameters(model).values())


def test_a_restart_does_not_depend_on_what_was_there_or_on_the_global_random_state() -> None:
    states = []
    for seed in range(2):
        torch.manual_seed(seed)
        model = bert_with_adapter()
        restart_head(model, pretrained_head(tiny_bert()), seed=7, num_labels=5 + seed)
        restart_head(model, pretrained_head(tiny_bert()), seed=7, num_labels=4)
        states.append(head_state(model))
    assert same(*states)
    restart_head(model, pretrained_head(tiny_bert()), seed=8, num_labels=4)
    assert not torch.equal(head_state(model)["classifier.weight"], states[0]["classifier.weight"])


@pytest.mark.parametrize("build", [tiny_bert, _roberta, _distilbert, _llama])
def test_a_task_with_other_classes_gets_a_classifier_of_its_size(build) -> None:  # type: ignore[no-untyped-def]
    model = build()
    restart_head(model, pretrained_head(model), seed=7, num_labels=6)
    logits = model(input_ids=torch.tensor([[3, 4, 5]])).logits
    assert logits.shape == (1, 6)
    assert model.config.num_labels == 6


def test_a_stored_head_gives_the_very_logits_again() -> None:
    ids = torch.tensor([[3, 4, 5]])
    model = bert_with_adapter()
    restart_head(model, pretrained_head(model), seed=7, num_labels=5)
    state, before = head_state(model), model(input_ids=ids).logits
    restart_head(model, pretrained_head(model), seed=8, num_labels=2)
    load_head(model, state)
    assert torch.equal(model(input_ids=ids).logits, before)


def test_a_state_is_a_copy() -> None:
    model = tiny_bert()
    state = head_state(model)
    with torch.no_grad():
        model.classifier.bias.add_(1.0)
    assert torch.equal(state["classifier.bias"], torch.zeros(3))


def test_freezing_ends_training() -> None:
    model = tiny_bert()
    restart_head(model, {}, seed=7, num_labels=2)
    freeze_head(model)
    assert not any(p.requires_grad for p in model.parameters())


def test_a_head_of_another_kind_of_model_is_refused() -> None:
    with pytest.raises(BadInput, match=r"pre_classifier\.bias"):
        load_head(tiny_bert(), head_state(_distilbert()))


def test_one_class_is_refused() -> None:
    with pytest.raises(BadInput, match="at least two"):
        restart_head(tiny_bert(), {}, seed=0, num_labels=1)


def test_a_model_without_a_classifier_is_refused() -> None:
    bare = tiny_llama()
    bare.lm_head = torch.nn.Identity()
    with pytest.raises(BadInput, match="no linear layer"):
        restart_head(bare, {}, seed=0, num_labels=2)
