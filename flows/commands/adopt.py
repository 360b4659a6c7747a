"""`lori adopt PEFT_DIR --as S`: an existing LoRA becomes a version like any other."""

from pathlib import Path

import click

from flows.commands.options import FilePath, as_json, tell_home


@click.command()
@click.argument("peft_dir", type=FilePath(path_type=Path))
@click.option("--as", "sequence", required=True, metavar="S", help="Sequence it becomes part of.")
@click.option("--task", help="Name of its task. Default: that of the folder.")
@click.option("--base", help="Its base: a folder or hub id. Default: the sequence's.")
@click.option("--test", required=True, type=FilePath(path_type=Path), help="Rows to measure on.")
@click.option("--metric", default="exact_match", show_default=True, help="As in a sequence file.")
@click.option("--over-refusal", metavar="FILE|none", help="Harmless rows, for metric refusal.")
@click.option("--prompt", help='Template over the fields of a row, such as "{question}".')
@click.option("--completion", help='Template of the answer, such as "{answer}".')
@click.option("--max-length", type=click.IntRange(min=8), help="Tokens of prompt and answer.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--allow-code-execution", is_flag=True, help="Let pass_at_k run generated code.")
@click.option(
    "--guards", "guards", multiple=True, metavar="TASK", help="A guard of the sequence; repeatable."
)
@click.option("--purpose", help="What it is for, in a sentence.")
@click.option("--license", "license_", help="Licence of the LoRA and its rows.")
@as_json
def adopt(
    peft_dir: Path,
    sequence: str,
    task: str | None,
    base: str | None,
    test: Path,
    metric: str,
    over_refusal: str | None,
    prompt: str | None,
    completion: str | None,
    max_length: int | None,
    max_new_tokens: int,
    allow_code_execution: bool,
    guards: tuple[str, ...],
    purpose: str | None,
    license_: str | None,
    json_: bool,
) -> None:
    """File the plain PEFT LoRA in PEFT_DIR as a version of S: measured, certified, nothing trained.

    The first one makes the sequence and needs --base; each further one is the same command again.
    Adopted a second time, it says where it is.
    """
    from flows.adopting import Adoption
    from flows.adopting_run import adopt as adopt_folder
    from flows.report import print_json
    from lori_core.names import check_name

    ask = Adoption(
        folder=peft_dir,
        sequence=check_name("sequence", sequence),
        task=check_name("task", task or peft_dir.resolve().name.lower()),
        base=base,
        test=test,
        metric=metric,
        over_refusal=over_refusal,
        prompt=prompt,
        completion=completion,
        max_length=max_length,
        max_new_tokens=max_new_tokens,
        allow_code_execution=allow_code_execution,
        guards=guards,
        purpose=purpose,
        license=license_,
    )
    done = adopt_folder(ask, quiet=json_)
    if json_:
        print_json(
            {
                "sequence": done.sequence,
                "version": done.version,
                "task": done.task,
                "already": done.already,
            }
        )
    else:
        name = f"{done.sequence}/{done.version}"
        said = "is there already, as" if done.already else "adopted as"
        click.echo(f"{peft_dir} {said} {name} (task {done.task})")
    tell_home(done.home)
