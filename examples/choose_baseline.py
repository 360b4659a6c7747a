"""Choose the plain LoRA's learning rates for the demo: `python -m examples.choose_baseline`.

Each task alone, from a fresh LoRA, on nine tenths of its training rows, with as many passes as the
demo gives it; scored on the last tenth.
Each task's best rate, the lower of two that are equal, is written to `demo.baseline.json`, with the
whole grid.
Nothing here looks at test rows, or at what is forgotten.
"""

import json
import tempfile
from pathlib import Path

from flows.stages.baseline import at_rate, plain_lora
from flows.stages.bench import Bench
from lori_core.baselines import one_lora_per_task, show
from lori_core.evaluation import evaluate_causal
from lori_core.phases import Lesson
from lori_core.refusals import is_refusal
from lori_core.sequence_file import load_sequence
from lori_core.task_rows import load_task

HERE = Path(__file__).parent
RATES = (5e-4, 1e-3, 2e-3, 5e-3)


def best_rate(grid: dict[str, dict[str, float]], task: str) -> float:
    """Of equal ones the first, which is the lowest."""
    return max(RATES, key=lambda rate: grid[f"{rate:g}"][task])


def main() -> None:
    config = plain_lora(load_sequence(HERE / "demo.yaml"))
    work = Bench(config, "choose")
    grid: dict[str, dict[str, float]] = {}
    for rate in RATES:
        scores: dict[str, float] = {}
        for task in config.tasks:
            rows = load_task(task, work.chat).train
            held_out = len(rows) // 10
            training = at_rate(task, rate).training
            encoded = work.encode(task, rows[:-held_out], ())
            lesson = Lesson(task=task.name, rows=encoded.rows, training=training)
            with tempfile.TemporaryDirectory() as folder:
                states = one_lora_per_task(work.model, [lesson], work.ground(), output=Path(folder))
            show(work.model, states[task.name])
            dev = rows[-held_out:]
            harmless = []
            if task.metric == "refusal":  # both kinds are among the training rows
                harmless = [row for row in dev if not is_refusal(row.completion)]
                dev = tuple(row for row in dev if is_refusal(row.completion))
            result = evaluate_causal(work.model, work.tokenizer, task, dev, harmless)
            scores[task.name] = result.value
        grid[f"{rate:g}"] = scores
        print(rate, scores, flush=True)
    best = {task.name: best_rate(grid, task.name) for task in config.tasks}
    chosen = {
        "learning_rates": best,
        "chosen": (
            "each task's best score, the task alone, on the last tenth of its training rows, the "
            "lower of two equal rates, with as many passes as the demo gives it: LoRI's two phases "
            "see as many rows (python -m examples.choose_baseline)"
        ),
        "dev_scores": grid,
    }
    (HERE / "demo.baseline.json").write_text(json.dumps(chosen, indent=2) + "\n")


if __name__ == "__main__":
    main()
