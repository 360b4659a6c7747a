"""The main corridor, from top to bottom: the life of one adapter.

    arrive → snapshot → calibrate → mask → train → certify → evaluate → file → gate → promote

Each line is a stage that is kept when it is finished: a run that was killed goes on at the first
one that was not. Names and digests go from line to line, never tensors.
"""

from prefect import flow

from flows.edge import take_signals_back
from flows.lesson import arrive
from flows.measuring import measure
from flows.running import running
from flows.steps import (
    calibrate,
    certify,
    done,
    file,
    gate,
    mask,
    promote,
    snapshot,
    tidy,
    train,
)


@flow(name="learn-task", flow_run_name="learn-{task}", validate_parameters=False)
def learn_task(sequence: str, task: str) -> int:
    """Learn one task on what was learned before. Returns the version it became."""
    take_signals_back()
    lesson = arrive(running(), task)
    snapshot(lesson.order("snapshot"))
    calibrated = None
    if lesson.chooses:
        calibrated = done(calibrate, lesson.order("calibrate"))
        chosen = done(mask, lesson.order("mask", calibrate=calibrated))
        trained = done(train, lesson.order("train", mask=chosen))
    else:
        trained = done(train, lesson.order("train"))
    certified = done(certify, lesson.order("certify", train=trained))
    measure(lesson, certified)
    order = lesson.order("file", train=trained, certify=certified)
    version = file(order, calibrated, trained, certified)
    if calibrated is not None:
        tidy(calibrated)  # as large as all of B; the version holds what came of it
    verdict = gate(lesson.order("gate"), version)
    promote(lesson.order("promote"), version, verdict)
    return lesson.position
