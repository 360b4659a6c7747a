"""The slot of a sequence in Prefect, on a real server: it stands behind our rows, never before them."""

import time

import pytest
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency

from flows.second_fence import OTHERS_SECONDS, empty, limit_name, second_fence
from registry.fence import FenceLost
from tests.flows.prefect_cases import PrefectPlace

pytestmark = pytest.mark.slow


def slots(sequence: str) -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(limit_name(sequence)).active_slots


def test_a_slot_that_somebody_forgot_holds_up_the_one_whose_turn_it_is_for_seconds_only(
    prefect_place: PrefectPlace,
) -> None:
    with get_client(sync_client=True) as client:
        empty(client, "forgotten")
    with concurrency(limit_name("forgotten"), strict=True, lease_duration=600):
        began = time.monotonic()
        with second_fence("forgotten", lambda: None):
            assert OTHERS_SECONDS <= time.monotonic() - began < OTHERS_SECONDS + 20
            assert slots("forgotten") == 1


def test_a_slot_is_not_taken_from_anybody_by_one_whose_turn_is_over(
    prefect_place: PrefectPlace,
) -> None:
    def over() -> None:
        raise FenceLost(7, 1, "it is at token 2")

    with get_client(sync_client=True) as client:
        empty(client, "held")
    with concurrency(limit_name("held"), strict=True, lease_duration=600):
        with pytest.raises(FenceLost), second_fence("held", over):
            raise AssertionError("entered")
        assert slots("held") == 1
