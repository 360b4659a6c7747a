import dataclasses
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor

from lori_core.adapters import adapter_shapes, attach, lora_layers, read_b
from lori_core.base import load_causal, load_encoder
from lori_core.base_identity import BaseIdentity, identify_base
from lori_core.certificates import (
    Certificate,
    Certified,
    certificate_from_json,
    certify,
    reachable_level,
)
from lori_core.config import AdapterConfig, BaseConfig, Protection, Read
from lori_core.errors import BadInput, CheckFailed
from lori_core.heads import head_state
from lori_core.probes import ProbeInput
from lori_core.shared_adapter import SharedAdapter, TaskAdapter
from lori_core.tensor_digests import sha256_tensor
from tests.lori_core.adapter_cases import bert_folder, llama_folder, probe_rows, random_task

PROBES: dict[str, tuple[ProbeInput, ...]] = {
    f"task{position}": probe_rows(3, seed=position) for position in range(1, 5)
}


class Bench:
    """A base, a model with an adapter, and tasks that can be added one by one."""

    def __init__(
        self, folder: Path, adapter: AdapterConfig, *, encoder: bool = False, dtype: str = "float32"
    ) -> None:
        self.base: BaseConfig = bert_folder(folder) if encoder else llama_folder(folder)
        self.base = dataclasses.replace(self.base, dtype=dtype)  # type: ignore[arg-type]
        self.adapter = adapter
        bare = load_encoder(self.base, 2, seed=0) if encoder else load_causal(self.base)
        self.storage = torch.bfloat16 if dtype == "bfloat16" else torch.float32
        self.model: PeftModel = attach(bare, adapter, seed=adapter.seed)
        self.identity: BaseIdentity = identify_base(self.base.path, None, self.base.dtype)
        self.encoder = encoder

    def learn(self, shared: SharedAdapter) -> SharedAdapter:
        head: dict[str, Tensor] | None = None
        labels: tuple[str, ...] = ()
        if self.encoder:
            classes = 2 + shared.version  # a head of another size for each task
            generator = torch.Generator().manual_seed(classes)
            head = {
                name: torch.randn(
                    (classes, *t.shape[1:]) if name.startswith("classifier") else t.shape,
                    generator=generator,
                )
                for name, t in head_state(self.model).items()
            }
            labels = tuple(f"label-{i}" for i in range(classes))
        task = random_task(
            adapter_shapes(self.model, self.adapter),
            self.adapter,
            shared,
            head=head,
            labels=labels,
            dtype=self.storage,
            base_digest=self.identity.digest,
            trained_a=self.adapter.method == "lora",
        )
        return SharedAdapter((*shared.adapters, task))

    def certify(
        self,
        previous: Certificate | None,
        shared: SharedAdapter,
        *,
        probes: dict[str, tuple[ProbeInput, ...]] = PROBES,
        logits: Mapping[str, Tensor] | None = None,
    ) -> Certified:
        return certify(
            previous,
            shared=shared,
            model=self.model,
            base=self.identity,
            read=self.adapter.read,
            probes=probes,
            previous_logits=logits,
        )

    def run(self, tasks: int) -> tuple[SharedAdapter, list[Certified]]:
        shared, certified = SharedAdapter(()), list[Certified]()
        for _ in range(tasks):
            shared = self.learn(shared)
            previous = certified[-1].certificate if certified else None
            certified.append(self.certify(previous, shared))
        return shared, certified


def settings(
    protection: Protection = "disjoint", read: Read = "inherited", method: str = "lori"
) -> AdapterConfig:
    return AdapterConfig(
        r=4,
        lora_alpha=6.0,
        tasks_planned=4,
        protection=protection,
        read=read,
        method=method,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("protection", "read", "method"),
    [
        ("disjoint", "inherited", "lori"),
        ("disjoint", "isolated", "lori"),
        ("separate", "isolated", "lori"),
        ("separate", "isolated", "lora"),
    ],
)
def test_protected_reads_reach_g2_with_the_very_probes_of_every_earlier_version(
    protection: Protection, read: Read, method: str, tmp_path: Path
) -> None:
    _, certified = Bench(tmp_path, settings(protection, read, method)).run(3)
    certificates = [c.certificate for c in certified]
    assert {c.level for c in certificates} == {"G2"}
    assert [c.version for c in certificates] == [1, 2, 3]
    for before, after in pairwise(certificates):
        assert after.tasks[: before.version] == before.tasks
        assert after.previous == before.digest


def test_an_encoders_tasks_keep_their_heads_and_their_probes(tmp_path: Path) -> None:
    shared, certified = Bench(tmp_path, settings(), encoder=True).run(3)
    last = certified[-1]
    assert last.certificate.level == "G2"
    assert [last.logits[a.task].shape for a in shared.adapters] == [(3, 2), (3, 3), (3, 4)]
    assert len({task.head for task in last.certificate.tasks}) == 3
    assert torch.equal(last.logits["task1"], certified[0].logits["task1"])


def test_a_bf16_base_is_certified_too(tmp_path: Path) -> None:
    _, certified = Bench(tmp_path, settings(), dtype="bfloat16").run(2)
    assert certified[1].certificate.base.dtype == "bfloat16"
    assert certified[1].certificate.runtime["dtype"] == "float32"  # what the probes ran in
    assert certified[1].certificate.tasks[0] == certified[0].certificate.tasks[0]


def test_a_cumulative_read_is_protected_in_its_bits_and_moves_in_its_answers(
    tmp_path: Path,
) -> None:
    _, certified = Bench(tmp_path, settings(read="cumulative")).run(2)
    one, two = (c.certificate for c in certified)
    assert two.level == "G1"
    assert two.tasks[0].values == one.tasks[0].values
    assert two.tasks[0].probe != one.tasks[0].probe


def test_overlapping_masks_prove_nothing(tmp_path: Path) -> None:
    _, certified = Bench(tmp_path, settings("overlap", "cumulative")).run(2)
    assert certified[1].certificate.level == "G0"


def test_levels_are_those_of_the_design() -> None:
    assert reachable_level("disjoint", "isolated") == "G2"
    assert reachable_level("disjoint", "inherited") == "G2"
    assert reachable_level("disjoint", "cumulative") == "G1"
    assert reachable_level("overlap", "cumulative") == "G0"
    assert reachable_level("separate", "isolated") == "G2"


def test_the_same_seed_twice_gives_the_same_certificate(tmp_path: Path) -> None:
    one = Bench(tmp_path / "one", settings()).run(2)[1][-1].certificate
    two = Bench(tmp_path / "two", settings()).run(2)[1][-1].certificate
    assert one == two
    assert one.digest == two.digest


def test_a_certificate_comes_back_from_json_the_same(tmp_path: Path) -> None:
    certificate = Bench(tmp_path, settings()).run(2)[1][-1].certificate
    again = certificate_from_json(json.loads(json.dumps(certificate.to_json())))
    assert again == certificate
    assert again.digest == certificate.digest


@pytest.mark.parametrize("data", [None, [], {}, {"format": 1}, {"format": 99}, "x"])
def test_what_is_no_certificate_is_bad_input(data: object) -> None:
    with pytest.raises(BadInput, match="a certificate of ours"):
        certificate_from_json(data)


def test_the_model_is_left_with_what_the_newest_task_reads(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings())
    shared, _ = bench.run(2)
    expected = shared.effective(2, 2, "inherited").b
    assert all(torch.equal(b, expected[n]) for n, b in read_b(bench.model).items())


def test_the_stored_logits_are_the_certified_ones(tmp_path: Path) -> None:
    _, certified = Bench(tmp_path, settings()).run(1)
    task = certified[0].certificate.tasks[0]
    assert sha256_tensor(certified[0].logits["task1"]) == task.logits
    assert task.n == 3


LAYER = "model.layers.1.mlp.up_proj"


def tampered(adapter: TaskAdapter, part: str) -> TaskAdapter:
    """The adapter with one bit of one layer changed, as if it had drifted."""
    if part == "values":
        values = {n: v.clone() for n, v in adapter.values.items()}
        values[LAYER].view(torch.int32)[0] ^= 1
        return dataclasses.replace(adapter, values=values)
    masks = {n: m.clone() for n, m in adapter.masks.items()}
    flat = masks[LAYER].view(-1)
    flat[int(flat.nonzero()[-1])] = False
    values = {**adapter.values, LAYER: adapter.values[LAYER][:-1]}
    return dataclasses.replace(adapter, masks=masks, values=values)


@pytest.mark.parametrize("part", ["values", "mask"])
@pytest.mark.parametrize("read", ["inherited", "cumulative"])
def test_an_earlier_task_that_moved_by_a_bit_fails_and_names_its_layer(
    part: str, read: Read, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, settings(read=read))
    one = bench.learn(SharedAdapter(()))
    first = bench.certify(None, one).certificate
    moved = SharedAdapter((tampered(one.adapters[0], part),))
    with pytest.raises(CheckFailed, match=rf"{LAYER} {part} of task task1 moved"):
        bench.certify(first, bench.learn(moved))


def test_a_head_that_moved_fails(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings(), encoder=True)
    one = bench.learn(SharedAdapter(()))
    first = bench.certify(None, one).certificate
    head = dict(one.adapters[0].head or {})
    head["classifier.bias"] = head["classifier.bias"] + 1
    moved = SharedAdapter((dataclasses.replace(one.adapters[0], head=head),))
    with pytest.raises(CheckFailed, match="task1 is not the one certified"):
        bench.certify(first, bench.learn(moved))


@pytest.mark.parametrize(
    "name", ["model.norm.weight", "model.layers.0.mlp.up_proj.base_layer.weight"]
)
def test_a_base_that_drifted_in_memory_fails(name: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings())
    shared, certified = bench.run(1)
    with torch.no_grad():
        weight = bench.model.get_base_model().get_parameter(name).view(-1)
        weight[0] = weight[0] + 1e-3
    with pytest.raises(CheckFailed, match="base in memory"):
        bench.certify(certified[0].certificate, bench.learn(shared))


def test_another_base_fails_and_names_the_tensor(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings())
    shared, certified = bench.run(1)
    tensors = {**bench.identity.tensors, "model.norm.weight": "0" * 64}
    bench.identity = dataclasses.replace(bench.identity, tensors=tensors)
    with pytest.raises(CheckFailed, match=r"base tensor model\.norm\.weight"):
        bench.certify(certified[0].certificate, bench.learn(shared))


def test_a_version_does_not_follow_one_that_is_not_the_one_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings())
    shared, certified = bench.run(1)
    three = bench.learn(bench.learn(shared))
    with pytest.raises(CheckFailed, match="version 3 cannot follow version 1"):
        bench.certify(certified[0].certificate, three)


def test_a_function_that_moved_fails_even_when_every_stored_bit_holds(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings())
    shared, certified = bench.run(1)
    first = certified[0].certificate
    forged = dataclasses.replace(
        first, tasks=(dataclasses.replace(first.tasks[0], probe="0" * 64),)
    )
    with pytest.raises(CheckFailed, match="probe logits of task task1 moved"):
        bench.certify(forged, bench.learn(shared))


def elsewhere(first: Certified, *, shift: float = 0.0) -> tuple[Certificate, dict[str, Tensor]]:
    """A certificate as another runtime would have given it: its logits off by `shift`."""
    logits = {task: values + shift for task, values in first.logits.items()}
    tasks = tuple(
        dataclasses.replace(task, probe="0" * 64, logits=sha256_tensor(logits[task.task]))
        for task in first.certificate.tasks
    )
    runtime = {**first.certificate.runtime, "torch": "0.0"}
    return dataclasses.replace(first.certificate, runtime=runtime, tasks=tasks), logits


def test_after_another_runtime_the_function_is_compared_in_this_one_and_within_a_tolerance(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, settings())
    shared, certified = bench.run(1)
    other, logits = elsewhere(certified[0], shift=5e-5)
    again = bench.certify(other, bench.learn(shared), logits=logits).certificate
    assert again.runtime_differs
    assert again.level == "G2"
    assert again.tasks[0].probe == certified[0].certificate.tasks[0].probe
    assert not certified[0].certificate.runtime_differs


def test_after_another_runtime_answers_beyond_the_tolerance_fail(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings())
    shared, certified = bench.run(1)
    two = bench.learn(shared)
    for shift in (5e-3, float("nan")):
        other, logits = elsewhere(certified[0], shift=shift)
        with pytest.raises(CheckFailed, match="runtime differs, and probe logits of task task1"):
            bench.certify(other, two, logits=logits)


def test_after_another_runtime_nothing_is_claimed_without_its_whole_logits(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings())
    shared, certified = bench.run(1)
    other, logits = elsewhere(certified[0])
    two = bench.learn(shared)
    for stored in (None, {}, {"task1": logits["task1"] + 1e-6}):
        with pytest.raises(CheckFailed, match="not stored whole"):
            bench.certify(other, two, logits=stored)


def test_after_another_runtime_a_measured_read_needs_no_logits(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings(read="cumulative"))
    shared, certified = bench.run(1)
    again = bench.certify(elsewhere(certified[0])[0], bench.learn(shared)).certificate
    assert (again.level, again.runtime_differs) == ("G1", True)


def test_a_later_version_is_not_certified_without_the_one_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings())
    two = bench.learn(bench.learn(SharedAdapter(())))
    with pytest.raises(CheckFailed, match="version 2 cannot follow nothing"):
        bench.certify(None, two)


@pytest.mark.parametrize("change", [{"read": "isolated"}, {"protection": "separate"}], ids=str)
def test_a_version_of_another_read_or_protection_does_not_follow(
    change: dict[str, object], tmp_path: Path
) -> None:
    bench = Bench(tmp_path, settings())
    shared, certified = bench.run(1)
    other = dataclasses.replace(certified[0].certificate, **change)  # type: ignore[arg-type]
    with pytest.raises(CheckFailed, match="the protection or the read mode changed"):
        bench.certify(other, bench.learn(shared))


def test_an_earlier_task_with_other_probes_fails(tmp_path: Path) -> None:
    """Other tokens of the same rows: another template, tokenizer or max_length."""
    bench = Bench(tmp_path, settings(read="cumulative"))
    shared, certified = bench.run(1)
    row = PROBES["task1"][0]
    cut = dataclasses.replace(row, input_ids=row.input_ids[:-1])
    probes = {**PROBES, "task1": (cut, *PROBES["task1"][1:])}
    with pytest.raises(CheckFailed, match="probes of task task1 are not those of before"):
        bench.certify(certified[0].certificate, bench.learn(shared), probes=probes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_digest": "another"}, "task1: was trained on another base"),
        ({"read": "isolated"}, "task1: was trained under the isolated read, not the inherited one"),
    ],
    ids=["base", "read"],
)
def test_an_adapter_of_another_base_or_read_is_not_certified(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, settings())
    task = bench.learn(SharedAdapter(())).adapters[0]
    foreign = SharedAdapter((dataclasses.replace(task, **change),))  # type: ignore[arg-type]
    with pytest.raises(CheckFailed, match=message):
        bench.certify(None, foreign)


def test_a_model_that_does_not_hold_the_protected_entries_fails_and_names_the_layer(
    tmp_path: Path,
) -> None:
    """Two layers that share one B hold the entries of the later one alone."""
    bench = Bench(tmp_path, settings())
    shared = bench.learn(SharedAdapter(()))
    layers = lora_layers(bench.model)
    layers["model.layers.0.mlp.up_proj"].lora_B["default"] = layers[LAYER].lora_B["default"]
    with pytest.raises(
        CheckFailed, match=r"layer model\.layers\.0\.mlp\.up_proj: entries of task1"
    ):
        bench.certify(None, shared)


def test_a_trained_norm_voids_the_certificate(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings())
    bench.model.get_base_model().get_parameter("model.norm.weight").requires_grad_(True)
    with pytest.raises(BadInput, match=r"model\.norm\.weight of the base is trained"):
        bench.run(1)


def test_a_task_without_probes_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings())
    with pytest.raises(BadInput, match="task1: has no probes"):
        certify(
            None,
            shared=bench.learn(SharedAdapter(())),
            model=bench.model,
            base=bench.identity,
            read="inherited",
            probes={},
        )


def test_progress_is_told_by_task_and_row(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings())
    told: list[tuple[str, int]] = []
    certify(
        None,
        shared=bench.learn(SharedAdapter(())),
        model=bench.model,
        base=bench.identity,
        read="inherited",
        probes=PROBES,
        on_progress=lambda task, done: told.append((task, done)),
    )
    assert told == [("task1", 1), ("task1", 2), ("task1", 3)]
