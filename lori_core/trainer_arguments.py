"""What `transformers.Trainer` is told for a phase, so that it does its loop and nothing besides."""

from pathlib import Path

from transformers import TrainingArguments

from lori_core.order import derive_seed
from lori_core.phase import PhaseSettings


def trainer_arguments(settings: PhaseSettings, output: Path) -> TrainingArguments:
    """Everything of transformers that would report, guess, shuffle or print, switched off."""
    args = TrainingArguments(
        output_dir=str(output),
        use_cpu=settings.device == "cpu",
        seed=derive_seed(settings.seed, "trainer", settings.phase, settings.task) % 2**32,
        num_train_epochs=1,  # the row order holds all epochs
        per_device_train_batch_size=(
            settings.train_batch_size // settings.gradient_accumulation_steps
        ),
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        lr_scheduler_type="linear",
        max_grad_norm=settings.max_grad_norm,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        logging_nan_inf_filter=False,
    )
    if settings.device == "cuda":
        args._n_gpu = 1  # several would be wrapped in DataParallel, which the hooks do not survive
    return args
