"""`lori automations`: what Prefect does by itself, made on its server."""

import click


@click.command()
@click.option("--notify-url", metavar="URL", help="Tell people there: a POST with JSON.")
@click.option("--no-notify", is_flag=True, help="Tell nobody any more.")
def automations(notify_url: str | None, no_notify: bool) -> None:
    """Make Prefect's server submit files by event, find lost runs, and tell of trouble.

    `lori up` does this for its own server. Safe to repeat: what is there is brought up to date, what
    somebody switched off stays off, and without --notify-url people are told where they were before.
    """
    from flows.automations import automations as wanted
    from flows.automations import prepare_server, tell_nobody
    from flows.prefect_api import prefect_api
    from registry.outbox import check_url

    if notify_url is not None and no_notify:
        raise click.UsageError("--notify-url and --no-notify exclude each other.")
    if notify_url is not None:
        check_url(notify_url)
    if no_notify:
        with prefect_api() as client:
            tell_nobody(client)
    changed = prepare_server(notify_url=notify_url)
    for each in wanted():
        click.echo(f"{each.name} ({'made or changed' if each.name in changed else 'there'})")
