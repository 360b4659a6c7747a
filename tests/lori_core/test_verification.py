"""A stored version verifies; with one flipped bit anywhere it does not, and the layer is named."""

import dataclasses
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from lori_core.adapters import adapter_shapes, attach
from lori_core.artifact import save_task_adapter
from lori_core.base import load_causal, load_encoder
from lori_core.base_identity import identify_base
from lori_core.certificates import Certificate, certify
from lori_core.config import AdapterConfig, BaseConfig, Protection, Read
from lori_core.export import CONFIG, WEIGHTS, export_peft
from lori_core.heads import head_state
from lori_core.probes import load_logits, save_logits
from lori_core.shared_adapter import SharedAdapter
from lori_core.verification import Check, verify_certificate
from tests.lori_core.adapter_cases import (
    bert_folder,
    flip_bit,
    llama_folder,
    probe_rows,
    random_sequence,
    rewrite_header,
)

LAYER = "model.layers.1.mlp.up_proj"
PROBES = {f"task{position}": probe_rows(3, seed=position) for position in (1, 2)}


@dataclass
class Stored:
    """A version as it lies on disk."""

    certificate: Certificate
    base: BaseConfig
    files: dict[str, Path]
    exports: dict[str, Path]
    logits: Path

    def verify(self) -> list[Check]:
        return verify_certificate(
            self.certificate,
            base=self.base,
            files=self.files,
            probes=PROBES,
            exports=self.exports,
            logits=self.logits,
        )


def store(folder: Path, adapter: AdapterConfig, *, encoder: bool = False) -> Stored:
    base = bert_folder(folder / "base") if encoder else llama_folder(folder / "base")
    identity = identify_base(base.path)
    bare = load_encoder(base, 3, seed=0) if encoder else load_causal(base)
    model = attach(bare, adapter, seed=adapter.seed)
    head = {n: torch.randn_like(t) for n, t in head_state(model).items()} if encoder else None
    shared: SharedAdapter = random_sequence(
        adapter_shapes(model, adapter),
        adapter,
        2,
        head=head,
        labels=("a", "b", "c") if encoder else (),
        base_digest=identity.digest,
        trained_a=adapter.method == "lora",
    )
    certified, previous = None, None
    for version in (1, 2):
        certified = certify(
            previous,
            shared=SharedAdapter(shared.adapters[:version]),
            model=model,
            base=identity,
            read=adapter.read,
            probes=PROBES,
        )
        previous = certified.certificate
    assert certified is not None
    files = {a.task: folder / a.task / "lori.safetensors" for a in shared.adapters}
    for task in shared.adapters:
        save_task_adapter(task, files[task.task])
    export_peft(
        shared.effective(2, 2, adapter.read),
        base=base.path,
        adapter=adapter,
        family="encoder" if encoder else "causal",
        directory=folder / "adapter",
    )
    save_logits(certified.logits, folder / "probes.safetensors")
    return Stored(
        certified.certificate,
        base,
        files,
        {"task2": folder / "adapter"},
        folder / "probes.safetensors",
    )


def settings(
    protection: Protection = "disjoint", read: Read = "inherited", method: str = "lori"
) -> AdapterConfig:
    return AdapterConfig(
        r=4,
        lora_alpha=6.0,
        tasks_planned=3,
        protection=protection,
        read=read,
        method=method,  # type: ignore[arg-type]
        target_modules=("q_proj", "up_proj"),
    )


ENCODER = AdapterConfig(r=4, lora_alpha=6.0, tasks_planned=3)


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return store(tmp_path, settings())


def flip_tensor(path: Path, name: str) -> None:
    """Flip one bit in the middle of one tensor of a safetensors file."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    begin, end = json.loads(data[8 : 8 + size])[name]["data_offsets"]
    flip_bit(path, 8 + size + (begin + end) // 2)


def failed(checks: list[Check]) -> str:
    return " | ".join(f"{check.what}: {check.detail}" for check in checks if not check.ok)


@pytest.mark.parametrize(
    ("protection", "read", "method"),
    [
        ("disjoint", "inherited", "lori"),
        ("disjoint", "cumulative", "lori"),
        ("overlap", "cumulative", "lori"),
        ("separate", "isolated", "lora"),
    ],
)
def test_what_was_stored_verifies(
    protection: Protection, read: Read, method: str, tmp_path: Path
) -> None:
    checks = store(tmp_path, settings(protection, read, method)).verify()
    assert failed(checks) == ""
    assert [check.what for check in checks] == [
        "base", "task task1", "task task2", "read", "export of task2",
        "probes of task1", "probes of task2",
    ]  # fmt: skip


def test_an_encoder_with_its_heads_verifies_and_a_flipped_head_does_not(tmp_path: Path) -> None:
    stored = store(tmp_path, ENCODER, encoder=True)
    assert failed(stored.verify()) == ""
    flip_tensor(stored.files["task1"], "head.bert.pooler.dense.weight")
    assert "task task1: layer bert.pooler.dense.weight of the head" in failed(stored.verify())


Damage = Callable[[Stored], None]


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda s: flip_tensor(s.files["task1"], f"{LAYER}.values"), f"layer {LAYER} B"),
        (lambda s: flip_tensor(s.files["task2"], f"{LAYER}.values"), f"layer {LAYER} B"),
        (lambda s: flip_tensor(s.files["task1"], f"{LAYER}.mask"), f"layer {LAYER} mask"),
        (
            lambda s: flip_tensor(
                s.exports["task2"] / WEIGHTS, f"base_model.model.{LAYER}.lora_A.weight"
            ),
            f"layer {LAYER}.lora_A",
        ),
        (
            lambda s: flip_tensor(
                s.exports["task2"] / WEIGHTS, f"base_model.model.{LAYER}.lora_B.weight"
            ),
            f"layer {LAYER}.lora_B",
        ),
        (
            lambda s: flip_tensor(Path(s.base.path) / "model.safetensors", f"{LAYER}.weight"),
            f"layer {LAYER}.weight",
        ),
    ],
    ids=["B of task 1", "B of task 2", "mask", "exported A", "exported B", "base"],
)
def test_one_flipped_bit_fails_and_names_its_layer_and_no_other(
    damage: Damage, named: str, stored: Stored
) -> None:
    damage(stored)
    checks = stored.verify()
    assert named in failed(checks)
    others = [check for check in checks if not check.ok and "layer" in check.detail]
    assert all(LAYER in check.detail for check in others)
    assert "not run" in checks[-1].detail


def test_a_flipped_bit_of_a_stored_a_fails_and_names_its_layer(tmp_path: Path) -> None:
    stored = store(tmp_path, settings("separate", "isolated", "lora"))
    flip_tensor(stored.files["task1"], f"{LAYER}.a")
    assert f"task task1: layer {LAYER} A" in failed(stored.verify())


def test_an_a_certified_with_other_bits_fails_and_names_its_layer(stored: Stored) -> None:
    first = stored.certificate.tasks[0]
    wrong = dataclasses.replace(first, a={**first.a, LAYER: "0" * 64})
    stored.certificate = dataclasses.replace(
        stored.certificate, tasks=(wrong, *stored.certificate.tasks[1:])
    )
    assert f"task task1: layer {LAYER} A" in failed(stored.verify())


@pytest.mark.parametrize("what", ["file", "export", "base"])
def test_what_is_missing_or_cut_short_is_a_failed_check_and_no_exception(
    what: str, stored: Stored
) -> None:
    if what == "file":
        stored.files["task1"].unlink()
        assert "task task1" in failed(stored.verify())
        del stored.files["task1"]
        assert "its lori.safetensors is missing" in failed(stored.verify())
    elif what == "export":
        path = stored.exports["task2"] / WEIGHTS
        path.write_bytes(path.read_bytes()[:-9])
        assert "export of task2" in failed(stored.verify())
    else:
        path = Path(stored.base.path) / "model.safetensors"
        path.write_bytes(path.read_bytes()[:40])
        assert "base: " in failed(stored.verify())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lora_alpha": 12}, "lora_alpha"),
        ({"r": 8}, "r"),
        ({"target_modules": ["q_proj"]}, "target_modules"),
        ({"use_rslora": True}, "use_rslora"),
        ({"use_dora": True}, "use_dora"),
        ({"alpha_pattern": {"q_proj": 1}}, "alpha_pattern"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_an_exports_settings_are_certified_too(
    changes: dict[str, object], named: str, stored: Stored
) -> None:
    path = stored.exports["task2"] / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert f"export of task2: {CONFIG}: {named} is not as certified" in failed(stored.verify())


def test_an_export_may_name_its_base_where_it_lies_now(stored: Stored) -> None:
    path = stored.exports["task2"] / CONFIG
    moved = {"base_model_name_or_path": "elsewhere", "revision": "v1"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **moved}))
    assert failed(stored.verify()) == ""


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_an_export_without_its_settings_fails(text: str | None, stored: Stored) -> None:
    path = stored.exports["task2"] / CONFIG
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert "a PEFT adapter's settings" in failed(stored.verify())


def test_an_encoders_exported_settings_are_those_certified(tmp_path: Path) -> None:
    stored = store(tmp_path, ENCODER, encoder=True)
    path = stored.exports["task2"] / CONFIG
    path.write_text(path.read_text().replace('"classifier"', '"pre_classifier"'))
    assert f"{CONFIG}: modules_to_save is not as certified" in failed(stored.verify())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level": "G1"}, "level G1 claimed, G2"),
        ({"read": "cumulative"}, "level G2 claimed, G1"),
        ({"read": "cumulative", "level": "G1"}, "trained under the inherited read"),
        ({"read": "isolated"}, "trained under the inherited read"),
        ({"protection": "overlap", "level": "G0"}, "protection is disjoint, not as certified"),
        ({"protection": "separate"}, "protection is disjoint, not as certified"),
        ({"version": 1}, "version 1 is not the number of its tasks, 2"),
        ({"version": 3}, "version 3 is not the number of its tasks, 2"),
        ({"version": 0, "tasks": ()}, "version 0 is not"),
    ],
    ids=str,
)
def test_what_a_certificate_claims_is_worked_out_again(
    changes: dict[str, object], message: str, stored: Stored
) -> None:
    stored.certificate = dataclasses.replace(stored.certificate, **changes)  # type: ignore[arg-type]
    assert message in failed(stored.verify())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": None}, "task task1: "),
        ({"r": None}, "task task1: "),
        ({"has_head": None}, "task task1: "),
        ({"tensors": None}, "task task1: "),
        ({"labels": ["a", "b"]}, "its settings or parents are not those certified"),
        ({"lora_alpha": 1.0}, "its settings or parents are not those certified"),
        ({"base": "another"}, "its settings or parents are not those certified"),
        ({"task": "task2"}, "its file is of task task2"),
    ],
    ids=str,
)
def test_a_header_edited_under_its_own_digest_is_a_failed_check_and_no_exception(
    changes: dict[str, object], message: str, stored: Stored
) -> None:
    rewrite_header(stored.files["task1"], changes)
    assert message in failed(stored.verify())


def test_an_adapter_of_another_base_fails_even_where_every_bit_is_certified(
    stored: Stored,
) -> None:
    """The certificate of one base put over adapters that were trained on another."""
    other = dataclasses.replace(
        stored.certificate, base=dataclasses.replace(stored.certificate.base, digest="0" * 64)
    )
    stored.certificate = other
    assert "task task1 was trained on another base" in failed(stored.verify())


def test_files_that_changed_places_fail(stored: Stored) -> None:
    stored.files = {"task1": stored.files["task2"], "task2": stored.files["task1"]}
    assert "task task1" in failed(stored.verify())


def test_a_flipped_config_of_the_base_fails(stored: Stored) -> None:
    path = Path(stored.base.path) / "config.json"
    path.write_text(path.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    assert "config or dtype" in failed(stored.verify())


def test_other_probe_inputs_fail(stored: Stored) -> None:
    checks = verify_certificate(
        stored.certificate,
        base=stored.base,
        files=stored.files,
        probes={"task1": PROBES["task1"][:2], "task2": probe_rows(3, seed=9)},
    )
    assert "probes of task1: 3 inputs were certified" in failed(checks)
    assert "probes of task2: its inputs are not those certified" in failed(checks)


def test_answers_that_are_not_those_certified_fail(stored: Stored) -> None:
    forged = dataclasses.replace(stored.certificate.tasks[1], probe="0" * 64)
    stored.certificate = dataclasses.replace(
        stored.certificate, tasks=(stored.certificate.tasks[0], forged)
    )
    assert failed(stored.verify()) == "probes of task2: 3 answers, not as certified"


def elsewhere(stored: Stored) -> Stored:
    certificate = stored.certificate
    return dataclasses.replace(
        stored,
        certificate=dataclasses.replace(
            certificate, runtime={**certificate.runtime, "torch": "0.0"}, loaded_base="unknown"
        ),
    )


def test_in_another_runtime_it_says_so_and_compares_logits(stored: Stored) -> None:
    checks = elsewhere(stored).verify()
    assert failed(checks) == ""
    assert all("runtime differs" in check.detail for check in checks[-2:])


def test_in_another_runtime_answers_beyond_the_tolerance_fail(stored: Stored) -> None:
    other = elsewhere(stored)
    for shift, ok in ((5e-5, True), (5e-3, False)):
        logits = {t: v + shift for t, v in load_logits(stored.logits).items()}
        save_logits(logits, other.logits.with_name("shifted"))
        tasks = tuple(
            dataclasses.replace(task, logits=digest)
            for task, digest in zip(
                other.certificate.tasks,
                (_digest(logits[t.task]) for t in other.certificate.tasks),
                strict=True,
            )
        )
        shifted = dataclasses.replace(
            other,
            certificate=dataclasses.replace(other.certificate, tasks=tasks),
            logits=other.logits.with_name("shifted"),
        )
        assert (failed(shifted.verify()) == "") is ok


def _digest(logits: torch.Tensor) -> str:
    from lori_core.tensor_digests import sha256_tensor

    return sha256_tensor(logits)


def test_in_another_runtime_without_whole_logits_nothing_is_claimed(stored: Stored) -> None:
    other = elsewhere(stored)
    flip_bit(other.logits, -1)
    assert "not stored whole" in failed(other.verify())
    other.logits.unlink()
    assert "cannot be read" in failed(other.verify())
