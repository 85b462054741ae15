"""Before everything else: has the service that a request is for a slot left for it?

If not, the answer was written at start, and the request is not looked at any further: no task, no
log line, no token, no limits. It costs a small part of a request that is served.
"""

import asyncio
import os
from collections import Counter

from gateway.admission import Admission
from gateway.clients import service_of
from gateway.exchange import Refused
from gateway.metrics import REQUESTS
from gateway.model import AdmissionBounds
from gateway.problems import to_answer, to_wire
from gateway.routes import Router
from svckit.errors import ResourceExhausted

_ID_BYTES = 16
_ID = b"0" * (2 * _ID_BYTES)


class Gatekeeper:
    def __init__(self, router: Router, admission: Admission, bounds: AdmissionBounds) -> None:
        self._router = router
        self._admission = admission
        # Let in since the loop last came round, and not begun yet.
        self._arrived: Counter[str] = Counter()
        answer = to_answer(ResourceExhausted(retry_after_s=bounds.retry_after_s))
        self._before_id, self._behind_id = to_wire(answer, _ID).split(_ID)
        self._refused = REQUESTS.labels("-", str(answer.status))

    def refusal(self, method: str, url: bytes) -> bytes | None:
        """All bytes of the answer to a request that can't be served; None = it may go on."""
        try:
            route, _ = self._router.match(method, url.partition(b"?")[0])
        except Refused:
            return None  # others refuse it, in their words
        service = service_of(route)
        if self._admission.has_room(service, self._arrived[service] + 1):
            if not self._arrived:
                asyncio.get_running_loop().call_soon(self._arrived.clear)
            self._arrived[service] += 1
            return None
        self._admission.refuse(service)
        self._refused.inc()
        return self._before_id + os.urandom(_ID_BYTES).hex().encode() + self._behind_id
