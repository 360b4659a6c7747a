"""Processes forked for a test, whatever the process of the tests has loaded by then."""

import os
from multiprocessing.context import ForkProcess
from multiprocessing.queues import Queue
from typing import TypeVar

Said = TypeVar("Said")


class Fork(ForkProcess):
    """A forked process that ends with its work.

    What libraries have registered for the end of the process it was forked from would run at its end
    too: Prefect's threads, which no fork has, fail there, and a good end would count as a bad one. So
    its work says what it says with `tell`.
    """

    def run(self) -> None:
        """Do the work; an exception is told as ever."""
        super().run()
        os._exit(0)


def tell(queue: "Queue[Said]", said: Said) -> None:
    """Say one thing, the last one, and wait until it is said."""
    queue.put(said)
    queue.close()
    queue.join_thread()
