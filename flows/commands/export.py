"""`lori export S[/VERSION] TASK --to DIR`: a plain PEFT folder."""

from pathlib import Path

import click

from flows.commands.options import as_json, new_folder, read_mode, tell_home


@click.command()
@click.argument("version")
@click.argument("task")
@read_mode
@click.option("--to", "directory", required=True, type=click.Path(path_type=Path))
@as_json
def export(version: str, task: str, read: str | None, directory: Path, json_: bool) -> None:
    """Write what TASK reads at VERSION as a PEFT LoRA that loads without this project."""
    from flows.recorded import open_existing, parse_name, recorded
    from flows.report import print_json
    from flows.succession import served_at

    named = parse_name(version)
    with open_existing() as registry:
        found = recorded(registry, named.sequence)
        number, position = served_at(found, named, task)
        mode = found.read_mode(read)
        new_folder(directory)
        from flows.serving import export_task  # torch: after everything else is known

        line, files = export_task(found, number, position, mode, directory)
        if json_:
            print_json({"directory": str(directory), "files": files, "vllm": line})
        else:
            served = found.versions[position - 1].task
            click.echo(f"{found.name}/{number} {served}, {mode} read: {directory}")
            if line is not None:
                click.echo(line)
        tell_home(registry.settings.home)
