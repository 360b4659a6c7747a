"""The method alone: two tasks in order on the micro base, with no Prefect, MLflow or database.

    python examples/lori_core_alone.py

Learns arithmetic, then string work, with LoRI under disjoint masks, and shows that the second task
wrote none of the first one's entries and that the first one's answers are the same bits as before.
"""

import tempfile
from pathlib import Path

import torch

from lori_core.adapters import attach
from lori_core.base import load_causal, load_tokenizer
from lori_core.base_identity import identify_base
from lori_core.config import AdapterConfig, BaseConfig, DataSource, TaskConfig, TrainingConfig
from lori_core.effective import load_effective
from lori_core.encoding import encode_causal, pad_id
from lori_core.masks import overlap
from lori_core.phases import Ground, Lesson, calibrate, choose_masks, train_sparse
from lori_core.runtime import useful_threads
from lori_core.shared_adapter import SharedAdapter
from lori_core.task_rows import load_task

HERE = Path(__file__).parent
TASKS = ("arithmetic", "strings")


def main() -> None:
    """Learn, then compare."""
    base = BaseConfig(path=str(HERE / "micro"))
    adapter = AdapterConfig(r=16, lora_alpha=32, tasks_planned=10)
    tokenizer = load_tokenizer(base)
    model = attach(load_causal(base), adapter, seed=adapter.seed)
    torch.set_num_threads(useful_threads(model.config.hidden_size))
    ground = Ground(
        adapter=adapter,
        family="causal",
        base_digest=identify_base(base.path).digest,
        pad_id=pad_id(tokenizer),
        pretrained_head={},
    )
    training = TrainingConfig(learning_rate_dense=2e-3, learning_rate=1e-2, max_length=128)
    question = tokenizer("How much is 24 plus 6?\n", return_tensors="pt")["input_ids"]
    shared, answers = SharedAdapter(()), []
    with tempfile.TemporaryDirectory() as scratch:
        for name in TASKS:
            rows = DataSource(path=str(HERE / "tasks" / name / "train.jsonl"), limit=640)
            task = TaskConfig(name=name, train=rows, test=rows)
            encoded = encode_causal(load_task(task, None).train, tokenizer, max_length=128)
            lesson = Lesson(task=name, rows=encoded.rows, training=training)
            folder = Path(scratch) / name
            found = calibrate(model, lesson, ground, earlier=shared, output=folder / "dense")
            masks = choose_masks(found, ground, sparsity=0.9, earlier=shared)
            trained = train_sparse(
                model, masks, lesson, ground, earlier=shared, output=folder / "sparse"
            )
            shared = SharedAdapter((*shared.adapters, trained.adapter))
            print(f"{name}: loss {trained.log.losses[0]:.2f} -> {trained.log.losses[-1]:.2f}")
            load_effective(model, shared.effective(1, shared.version, "inherited"))
            answers.append(model(input_ids=question).logits)
    written = overlap([shared.write_masks(1), shared.write_masks(2)])
    print(f"entries written: {written[0][0]} and {written[1][1]}, by both: {written[0][1]}")
    print(f"arithmetic, inherited read, same logits after strings: {torch.equal(*answers)}")
    load_effective(model, shared.effective(1, shared.version, "cumulative"))
    moved = (model(input_ids=question).logits - answers[0]).abs().max()
    print(f"cumulative read: logits moved by up to {moved:.3f}")


if __name__ == "__main__":
    main()
