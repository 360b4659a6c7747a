"""The flow that learns a sequence: each task in order, from the first that is not filed yet."""

from prefect import flow

from flows.edge import take_signals_back
from flows.learn_task import learn_task
from flows.running import running


@flow(name="learn-sequence", flow_run_name="learn-{sequence}", validate_parameters=False)
def learn_sequence(sequence: str) -> list[int]:
    """Learn every task that is not filed yet. Returns the versions that were made."""
    take_signals_back()
    run = running()
    filed = len(filed_versions(sequence))
    tasks = run.plan.config.tasks
    return [learn_task(sequence, task.name) for task in tasks[filed:]]


def filed_versions(sequence: str) -> list[int]:
    """The versions that are filed for good, in order."""
    versions = running().registry.versions(sequence)
    return [version.version for version in versions if version.state == "registered"]
