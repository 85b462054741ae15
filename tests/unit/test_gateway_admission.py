"""Which requests are let in and which are refused; and that no slot is ever lost."""

import asyncio

import pytest

from gateway.admission import Admission, Budget
from gateway.contract import load_contract
from gateway.gatekeeper import Gatekeeper
from gateway.model import AdmissionBounds
from gateway.routes import Router
from svckit.errors import ResourceExhausted

BOUNDS = AdmissionBounds()


def test_each_service_has_room_of_its_own() -> None:
    admission = Admission(2, BOUNDS)
    with admission.slot("feed_svc"), admission.slot("feed_svc"):
        assert not admission.has_room("feed_svc")
        with pytest.raises(ResourceExhausted) as refused, admission.slot("feed_svc"):
            pass
        assert refused.value.retry_after_s is not None
        assert admission.has_room("user_svc")
    assert admission.has_room("feed_svc")


def test_a_slot_is_free_again_whatever_happened_in_it() -> None:
    admission = Admission(1, BOUNDS)
    for error in (RuntimeError, ResourceExhausted, KeyboardInterrupt):
        with pytest.raises(error), admission.slot("feed_svc"):
            raise error
    assert admission.has_room("feed_svc")


def test_a_refusal_takes_no_slot() -> None:
    admission = Admission(1, BOUNDS)
    with admission.slot("feed_svc"):
        for _ in range(3):
            with pytest.raises(ResourceExhausted), admission.slot("feed_svc"):
                pass
    assert admission.has_room("feed_svc")


async def test_who_arrives_together_is_counted_together() -> None:
    """Before any of them has begun."""
    contract = load_contract()
    router = Router([method for service in contract.services for method in service.methods])
    gatekeeper = Gatekeeper(router, Admission(2, BOUNDS), BOUNDS)
    found = [gatekeeper.refusal("GET", b"/v1/feed?pageSize=1") is None for _ in range(4)]
    assert found == [True, True, False, False]
    assert gatekeeper.refusal("GET", b"/v1/me") is None
    assert gatekeeper.refusal("GET", b"/healthz") is None
    await asyncio.sleep(0)
    assert gatekeeper.refusal("GET", b"/v1/feed") is None


def test_many_refusals_make_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission(1, BOUNDS)
    for _ in range(1000):
        admission.refuse("feed_svc")
    (line,) = caplog.records
    assert line.message == "overloaded"


def test_a_budget_is_never_overdrawn() -> None:
    budget = Budget(100, "bodies", BOUNDS)
    budget.take(60)
    with pytest.raises(ResourceExhausted):
        budget.take(41)
    budget.take(40)
    budget.give_back(60)
    budget.take(60)
