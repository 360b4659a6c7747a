"""`lori demo`: the problem and the cure, in a few minutes."""

from pathlib import Path

import click

from flows.commands.options import tell_home

EXAMPLES = Path(__file__).parents[2] / "examples"


@click.command()
def demo() -> None:
    """Learn the example sequence beside one plain LoRA; print what each kept and lost."""
    from flows.comparing import read_baseline, sequential_lora
    from flows.demo import print_demo
    from flows.edge import signals_end_this
    from flows.learn_file import learn_file
    from flows.recorded import open_existing, recorded
    from lori_core.errors import BadInput
    from lori_core.sequence_file import load_sequence

    file, baseline_file = EXAMPLES / "demo.yaml", EXAMPLES / "demo.baseline.json"
    if not file.is_file():
        raise BadInput(f"{file} does not exist", "the project's own folder", "Clone it whole.")
    baseline = read_baseline(baseline_file)
    name = load_sequence(file).sequence
    click.echo(learn_file(file), err=True)
    with open_existing() as registry:
        found = recorded(registry, name)
        with signals_end_this():
            plain = sequential_lora(found, baseline)
        print_demo(found, plain, baseline.learning_rates)
        tell_home(registry.settings.home)
