from flows.queues import queue_of
from lori_core.config import DataSource, ResourcesConfig, TaskConfig

ROWS = DataSource(path="rows.jsonl")


def test_a_task_waits_where_its_gpus_are() -> None:
    def waits(**needs: int) -> str:
        resources = ResourcesConfig(**needs)
        return queue_of(TaskConfig(name="a", train=ROWS, test=ROWS, resources=resources))

    assert waits() == "cpu"
    assert waits(processes=4) == "cpu"
    assert waits(gpus=1) == "gpu-1"
    assert waits(gpus=8, processes=8) == "gpu-8"
