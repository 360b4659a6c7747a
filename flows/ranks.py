"""The processes that train one task together, at work: the first leads, the others follow.

The first reads the orders, reports and writes, as the one process of `flows.stage_worker` does; of
the stages that train, it tells the others, who then do the same and keep silent. A process that
fails says so itself; one that is killed is missed by the others, and torchrun ends them all.
"""

import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

from flows.reporter import Reporter
from flows.stage_launch import DEVICE, OWN_THREADS
from flows.stage_protocol import SPEC, TRAINING, refusal
from flows.stage_worker import Order, serve
from flows.stages.table import STAGES
from lori_core.distributed import FirstLeft, Ranks, join
from lori_core.errors import BadInput, CheckFailed, RankLost

ATOMIC = 3000
"""Characters of a traceback that one write to the shared pipe surely holds, with what is around them."""


def work(reporter: Reporter) -> None:
    """Meet the others, then lead or follow them."""
    on_gpu = os.environ[DEVICE] == "cuda"
    if on_gpu and not torch.cuda.is_available():
        reporter.say(refusal(_no_gpu()))
        return
    if os.environ.pop(OWN_THREADS, None):
        del os.environ["OMP_NUM_THREADS"]  # torch has read it; the bench may take fewer
    ranks = join("cuda" if on_gpu else "cpu")
    try:
        pids = ranks.numbers(os.getpid())
        if ranks.first:
            reporter.say({"event": "ready", "pids": pids})
            serve(_told(ranks), reporter)
            ranks.tell(b"")
        else:
            _follow(ranks, reporter)
    except RankLost as lost:
        if ranks.first:
            account = f"one of {ranks.count} training processes was killed, or failed: {lost}"
            reporter.say({"event": "failed", "traceback": account})
        raise


def _told(ranks: Ranks) -> Iterator[Order]:
    """The orders of the run, each told to the others if they have a part in it."""
    for line in sys.stdin.buffer:
        order: Order = json.loads(line)
        if order["stage"] in TRAINING:
            ranks.tell(line)
        yield order


def _follow(ranks: Ranks, reporter: Reporter) -> None:
    """Do what the first was ordered to do, until it leaves or says no."""
    with Path(os.devnull).open("wb") as nowhere:
        silent = Reporter(nowhere)
        while line := ranks.hear():
            order: Order = json.loads(line)
            folder = Path(order["folder"])
            try:
                spec = json.loads((folder / SPEC).read_text(encoding="utf-8"))
                STAGES[order["stage"]](spec, folder, silent)
            except (BadInput, CheckFailed, FirstLeft):
                return  # the first says it
            except RankLost:
                raise
            except BaseException:
                account = traceback.format_exc()[-ATOMIC:]
                said = f"training process {ranks.number}: ...{account}"
                reporter.say({"event": "failed", "traceback": said})
                raise


def _no_gpu() -> BadInput:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return BadInput(
        f"resources.gpus: training process {os.environ['RANK']} finds no GPU (device {visible})",
        "one GPU for each process",
        "Lower `gpus` and `processes`, or run it where they are.",
    )
