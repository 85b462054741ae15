"""What the document promises holds, whatever is sent: see `campaign`.

FUZZ_CASES says how many cases, and FUZZ_SEED which ones.
"""

import os
import sys

import pytest

from tests.fuzz.campaign import Campaign
from tests.requests.openapi import closed
from tests.stacks.feed_stack import FeedStack
from tests.stacks.gateway_stack import GatewayStack

CASES = int(os.environ.get("FUZZ_CASES", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))


@pytest.mark.deadline(300 + CASES)
async def test_the_api_is_as_documented(
    gateway_stack: GatewayStack, feed_stack: FeedStack, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    document = closed((await gateway_stack.request("GET", "/openapi.json")).json)
    url = f"http://127.0.0.1:{gateway_stack.port}"
    tell(f"\nfuzz: seed {SEED}")
    report = await Campaign(url, document, feed_stack, CASES, SEED).run(tell)
    tell(f"fuzz: {report}")
    assert not report.findings
