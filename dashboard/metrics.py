"""`/metrics`: the registry in numbers, as Prometheus reads them.

Everything is counted when it is asked for, from the registry alone, so that every server of a registry
tells the same and a server that was started again forgets nothing. Who scrapes needs what every reader
needs: on the embedded default nothing, else a viewer's token (`authorization` in the scrape's settings).
"""

from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from typing import get_args

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.responses import Response

from dashboard.live import Live
from dashboard.office import Readable
from registry.arrival_records import ArrivalState, SubmissionState
from registry.clock import now
from registry.totals import BUCKETS, Totals, totals

router = APIRouter(tags=["server"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Metrics", "content": {"text/plain": {}}}},
)
def metrics(request: Request, registry: Readable) -> Response:
    """Queue, stages, forgetting, gates, promotions and webhooks, in Prometheus' text format."""
    live = request.app.state.live
    assert isinstance(live, Live)
    scrape = CollectorRegistry()
    scrape.register(_Scrape(totals(registry, now()), live.listeners))
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(scrape), headers={"content-type": kind})


class _Scrape(Collector):
    """What was counted, as families of metrics."""

    def __init__(self, counted: Totals, listeners: int) -> None:
        self._counted, self._listeners = counted, listeners

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        counted = self._counted
        info = GaugeMetricFamily("lori_info", "The version of this server.", labels=["version"])
        info.add_metric([version("lori-pipeline")], 1)
        yield info
        yield GaugeMetricFamily(
            "lori_live_listeners", "Open streams of live updates.", value=self._listeners
        )
        filed = GaugeMetricFamily("lori_versions", "Filed versions.", labels=["sequence"])
        for name, count in counted.versions.items():
            filed.add_metric([name], count)
        yield filed
        yield from _queue(counted)
        yield from _stages(counted)
        yield from _forgetting(counted)
        yield from _decisions(counted)
        yield from _webhooks(counted)


def _queue(counted: Totals) -> Iterator[Metric]:
    arrivals = GaugeMetricFamily(
        "lori_arrivals", "Arrivals by where they stand.", labels=["sequence", "state"]
    )
    for name in sorted({name for name, _ in counted.arrivals}):
        for state in get_args(ArrivalState):
            arrivals.add_metric([name, state], counted.arrivals.get((name, state), 0))
    yield arrivals
    held = GaugeMetricFamily(
        "lori_arrivals_held",
        "Waiting arrivals that are passed over until somebody releases them.",
        labels=["sequence"],
    )
    for name, count in counted.arrivals_held.items():
        held.add_metric([name], count)
    yield held
    oldest = GaugeMetricFamily(
        "lori_oldest_waiting_seconds",
        "How long ago the oldest arrival that waits, and is not held, came.",
        labels=["sequence"],
    )
    for name, seconds in counted.oldest_waiting.items():
        oldest.add_metric([name], seconds)
    yield oldest
    closed = GaugeMetricFamily(
        "lori_sequence_held", "1: the sequence gives nothing out.", labels=["sequence"]
    )
    for name in counted.sequences_held:
        closed.add_metric([name], 1)
    yield closed
    sent = GaugeMetricFamily(
        "lori_submissions", "Submissions by what became of them.", labels=["state"]
    )
    for outcome in get_args(SubmissionState):
        sent.add_metric([outcome], counted.submissions.get(outcome, 0))
    yield sent


def _stages(counted: Totals) -> Iterator[Metric]:
    took = HistogramMetricFamily(
        "lori_stage_duration_seconds",
        "How long the attempts at a stage took that finished.",
        labels=["stage"],
    )
    failed = CounterMetricFamily(
        "lori_stage_failures", "Attempts at a stage that failed or were killed.", labels=["stage"]
    )
    running = GaugeMetricFamily(
        "lori_stages_running", "Attempts at a stage that have not ended.", labels=["stage"]
    )
    for each in counted.stages:
        within = [(str(bound), float(n)) for bound, n in zip(BUCKETS, each.within, strict=True)]
        took.add_metric([each.stage], [*within, ("+Inf", float(each.finished))], each.seconds)
        failed.add_metric([each.stage], each.failed)
        running.add_metric([each.stage], each.running)
    yield from (took, failed, running)


def _forgetting(counted: Totals) -> Iterator[Metric]:
    lost = GaugeMetricFamily(
        "lori_worst_forgetting",
        "The largest loss of an earlier task since its best, at the newest version, under the mode the"
        " sequence serves, as a fraction. basis=proved: nothing was lost with the task id given, in the"
        " reference runtime; same_bits: the same by digest, covered by no certificate; paired, unpaired:"
        " measured, row by row or not.",
        labels=["sequence", "read", "basis"],
    )
    low = GaugeMetricFamily(
        "lori_worst_forgetting_low",
        "The lower end of its 95 % interval, where it was measured.",
        labels=["sequence", "read"],
    )
    high = GaugeMetricFamily(
        "lori_worst_forgetting_high",
        "The upper end of its 95 % interval, where it was measured.",
        labels=["sequence", "read"],
    )
    tasks = GaugeMetricFamily(
        "lori_earlier_tasks",
        "Tasks before the newest, by how it is known what they lost. missing: not scored at both"
        " versions; incomparable: on other rows, or by another metric, than at their best. Neither is"
        " in the worst figure.",
        labels=["sequence", "read", "known"],
    )
    for sequence, read, worst in counted.forgetting:
        lost.add_metric([sequence, read, worst.basis], worst.value)
        if worst.basis in ("paired", "unpaired"):
            low.add_metric([sequence, read], worst.low)
            high.add_metric([sequence, read], worst.high)
        for known, count in asdict(worst.earlier).items():
            tasks.add_metric([sequence, read, known], count)
    yield from (lost, low, high, tasks)


def _decisions(counted: Totals) -> Iterator[Metric]:
    judged = CounterMetricFamily(
        "lori_gate_reports", "Recorded judgements of a gate.", labels=["sequence", "verdict"]
    )
    for name in sorted({name for name, _ in counted.gates}):
        judged.add_metric([name, "passed"], counted.gates.get((name, True), 0))
        judged.add_metric([name, "refused"], counted.gates.get((name, False), 0))
    yield judged
    decided = GaugeMetricFamily(
        "lori_promotions",
        "Promotions and rollbacks by where they stand.",
        labels=["sequence", "kind", "alias", "status"],
    )
    for each in counted.promotions:
        decided.add_metric([each.sequence, each.kind, each.alias, each.status], each.count)
    yield decided


def _webhooks(counted: Totals) -> Iterator[Metric]:
    # All of them together: which webhooks there are is an admin's to read.
    yield GaugeMetricFamily(
        "lori_webhook_undelivered",
        "Messages that webhooks have not taken yet.",
        value=sum(each.undelivered for each in counted.backlog),
    )
    ages = [each.oldest_seconds for each in counted.backlog if each.oldest_seconds is not None]
    oldest = GaugeMetricFamily(
        "lori_webhook_oldest_seconds", "Since what the oldest of them tells of came about."
    )
    if ages:
        oldest.add_metric([], max(ages))
    yield oldest
