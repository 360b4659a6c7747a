"""`lori merge S[/VERSION] TASK --to DIR`: one whole model, on request."""

from pathlib import Path

import click

from flows.commands.options import as_json, new_folder, read_mode, tell_home


@click.command()
@click.argument("version")
@click.argument("task")
@read_mode
@click.option("--to", "directory", required=True, type=click.Path(path_type=Path))
@as_json
def merge(version: str, task: str, read: str | None, directory: Path, json_: bool) -> None:
    """Write the base with what TASK reads at VERSION merged into it: no certificate covers it.

    The folder says so itself, with the digests it came from and the measured difference of logits.
    """
    from flows.recorded import open_existing, parse_name, recorded
    from flows.report import print_json
    from flows.succession import served_at

    named = parse_name(version)
    with open_existing() as registry:
        found = recorded(registry, named.sequence)
        number, position = served_at(found, named, task)
        mode = found.read_mode(read)
        new_folder(directory)
        from flows.serving import merge_task  # torch: after everything else is known

        made = merge_task(found, number, position, mode, directory)
        if json_:
            print_json(
                {
                    "directory": str(directory),
                    "files": dict(made.files),
                    "certificate": None,
                    "largest_difference": made.largest_difference,
                    "rows": made.rows,
                }
            )
        else:
            served = found.versions[position - 1].task
            click.echo(f"{found.name}/{number} {served}, {mode} read, merged: {directory}")
            click.echo(
                f"no certificate covers it; its logits differ from the adapter's by at most "
                f"{made.largest_difference:.2g} on {made.rows} probes"
            )
        tell_home(registry.settings.home)
