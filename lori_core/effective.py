"""Put what a task reads into a model: its A, its B, its scaling and its head."""

from peft import PeftModel

from lori_core.adapters import lora_layers, set_scaling, write_a, write_b
from lori_core.errors import CheckFailed
from lori_core.heads import load_head
from lori_core.shared_adapter import EffectiveAdapter


def load_effective(peft_model: PeftModel, effective: EffectiveAdapter) -> None:
    """Make `peft_model` (from `adapters.attach`) compute what `effective` computes.

    A, B and scaling of every layer are replaced. A head is replaced where there is one, and left
    where there is none. Raises CheckFailed when the adapter's layers are not the model's.
    """
    layers = lora_layers(peft_model)
    if odd := sorted(layers.keys() ^ effective.b.keys()):
        raise CheckFailed(
            f"task {effective.task}", f"its adapter and the model differ in layer {odd[0]}"
        )
    write_a(peft_model, effective.a)
    write_b(peft_model, effective.b)
    set_scaling(peft_model, effective.scaling)
    if effective.head is not None:
        load_head(peft_model, effective.head)
