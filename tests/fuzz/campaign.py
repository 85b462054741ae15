"""Cases made from the API's own document, sent as people of every role; answers judged by it.

Schemathesis makes the cases and judges: no fault of the server; status, type, headers and body as
documented; refused what breaks the document, and who has no token where one is needed. It learns
from answers, so that later cases are about things that are there. The same seed makes the same
cases, as far as ids, which are new each time, let it.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from google.protobuf import descriptor_pool, json_format
from google.protobuf.message_factory import GetMessageClass
from schemathesis import APIOperation, AuthContext, BaseSchema, Case, HookContext, Response, engine
from schemathesis.core import NotSet
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.engine import events
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.openapi.checks import UseAfterFree

from svckit import bounds
from svckit.errors import InvalidArgument
from tests.contract.contract_descriptors import RPC_LIST
from tests.fuzz.callers import Caller, Role, World, caller_with, make_world
from tests.requests.bad_values import BAD
from tests.requests.sensible_feed_requests import UNIMPLEMENTED
from tests.stacks.feed_stack import FeedStack

Sent = Case[APIOperation[Any, Any, Any, Any]]
REQUEST_TIMEOUT_S = 10
REQUEST_CLASSES = {
    f"{rpc.service.rpartition('.')[2]}_{rpc.name}": GetMessageClass(
        descriptor_pool.Default().FindMessageTypeByName(rpc.method.input_type.lstrip("."))
    )
    for rpc in RPC_LIST
}
NOT_OFFERED = "|".join(["AnalyticsService_.*", *(name.replace(".", "_") for name in UNIMPLEMENTED)])
# 400 too: no schema says what hides in a text, which tokens are good and what goes together.
TAKEN = ["2xx", "400", "401", "403", "404", "409", "501"]
BAD_TEXTS = [text.format("a", "b") for text in BAD.values() if len(text) < 10_000]
CALLS = ("fuzzing", "stateful")
ALL = ("examples", "coverage", *CALLS)


@dataclass(frozen=True)
class Pass:
    role: Role
    phases: tuple[str, ...]
    cases_per_operation: int


def passes() -> Iterator[Pass]:
    """A little as everybody; then all that the document gives rise to; then chance, without end."""
    for role in Role:
        yield Pass(role, CALLS, 1)
    for role in (Role.ADMIN, Role.USER):
        yield Pass(role, ("examples", "coverage"), 1)
    for role in itertools.cycle((Role.USER, Role.ADMIN, Role.MODERATOR)):
        yield Pass(role, CALLS, 10)


@dataclass
class Report:
    """What was sent and what is wrong: each thing once, with how to see it again."""

    cases: Counter[Role] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    good: Counter[str] = field(default_factory=Counter)
    """Calls that were answered with 200, by operation."""
    findings: dict[str, str] = field(default_factory=dict)

    def take(self, role: Role, recorder: ScenarioRecorder) -> None:
        for case_id, interaction in recorder.interactions.items():
            case = recorder.cases[case_id]
            if case.parent_id and not case.transition:  # the same again, to see something proved
                continue
            status = interaction.response.status_code if interaction.response else 0
            self.cases[role] += 1
            self.statuses[status] += 1
            self.good[case.value.operation.label] += status == 200
        for check in itertools.chain.from_iterable(recorder.checks.values()):
            if (info := check.failure_info) is not None:
                failure = info.failure
                name = f"{failure.operation}: {failure.title} ({check.name})"
                told = f"as {role.name}: {failure.message}\n{info.code_sample}"
                self.findings.setdefault(name, told)

    def __str__(self) -> str:
        statuses = ", ".join(
            f"{status}: {count}" for status, count in sorted(self.statuses.items())
        )
        never = ", ".join(name for name, count in self.good.items() if not count)
        lines = [
            f"{self.cases.total()} cases ({statuses}), {len(self.findings)} findings",
            f"never 200: {never or 'none'}",
        ]
        lines += [f"\n{name}\n{told}" for name, told in self.findings.items()]
        return "\n".join(lines)


class Campaign:
    """Against the gateway at `url`; `document` is its OpenAPI document, `stack` what is behind."""

    def __init__(
        self, url: str, document: Mapping[str, Any], stack: FeedStack, cases_max: int, seed: int
    ) -> None:
        self.report = Report()
        self._url = url
        self._document = document
        self._stack = stack
        self._cases_max = cases_max
        self._seed = seed

    async def run(self, tell: Callable[[str], None]) -> Report:
        """Each pass in a new world: people and posts are deleted, too, by those who may."""
        began_s = time.monotonic()
        for number, each in enumerate(passes()):
            world, caller = await make_world(self._stack), caller_with(self._stack, each.role)
            schema = schemathesis.openapi.from_dict(
                dict(self._document), config=self._config(each, world, self._seed + number)
            )
            _restrict(schema)
            if caller is not None:
                _sign(schema, caller)
            await asyncio.to_thread(self._pass, each.role, schema)
            done, seconds = self.report.cases.total(), time.monotonic() - began_s
            what = f"{each.role.name.lower()}: {', '.join(each.phases)}"
            tell(f"{done:6} of {self._cases_max} cases in {seconds:4.0f} s, after {what}")
            if done >= self._cases_max:
                break
        return self.report

    def _pass(self, role: Role, schema: BaseSchema) -> None:
        stream = engine.from_schema(schema).execute()
        for event in stream:
            if isinstance(event, events.ScenarioFinished):
                self.report.take(role, event.recorder)
            elif isinstance(event, events.NonFatalError):
                name = f"{event.label}: {event.info.title}"
                self.report.findings.setdefault(name, repr(event.value))
            elif isinstance(event, events.FatalError):
                raise event.exception
            if self.report.cases.total() >= self._cases_max:
                stream.stop()

    def _config(self, each: Pass, world: World, seed: int) -> schemathesis.Config:
        options = {
            "base-url": self._url,
            "seed": seed,
            "request-timeout": REQUEST_TIMEOUT_S,
            "max-stream-events": 1,  # a live stream has no end
            "continue-on-failure": True,
            "suppress-health-check": ["all"],
            "output": {"sanitization": {"enabled": False}},  # a call has to be sent again as it was
            "dictionaries": {
                "people": {"values": world.people},
                "posts": {"values": world.posts},
                "comments": {"values": world.comments},
                "bad": {"values": BAD_TEXTS},
            },
            "parameters": {
                "path.userId": {"dictionary": "people", "probability": 0.5},
                "path.postId": {"dictionary": "posts", "probability": 0.5},
                "path.commentId": {"dictionary": "comments", "probability": 0.5},
            },
            "generation": {
                "max-examples": each.cases_per_operation,
                "database": "none",
                "no-shrink": True,  # it could take as long as all the rest
                "dictionaries": {"string": {"dictionary": "bad", "probability": 0.2}},
                "with-security-parameters": False,  # what is wrong is not just the token
            },
            "checks": {"positive_data_acceptance": {"expected-statuses": TAKEN}},
            "phases": {phase: {"enabled": phase in each.phases} for phase in ALL},
            "operations": [
                {
                    "include-operation-id-regex": f"^({NOT_OFFERED})$",
                    "checks": {
                        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "501"]}
                    },
                }
            ],
        }
        return schemathesis.Config.from_dict(options)


def _restrict(schema: BaseSchema) -> None:
    @schema.hook
    def filter_failure(_: HookContext, failure: Failure, case: Sent, __: Response) -> bool:
        if isinstance(failure, UseAfterFree):
            # Who has deleted themself may read their own posts until their token is refused.
            return failure.operation != "DELETE /v1/users/{userId}"
        # Proto3 JSON is wider than the document: null for nothing, numbers for enums. So is what
        # is taken for a text: white space around it, the # of a tag.
        return not (isinstance(failure, AcceptedNegativeData) and _is_within_bounds(case))

    @schema.hook
    def filter_headers(_: HookContext, headers: Mapping[str, object] | None) -> bool:
        """Others can't be sent."""
        texts = map(str, (headers or {}).values())
        return all(text.isprintable() and text == text.strip() for text in texts)


def _is_within_bounds(case: Sent) -> bool:
    """Path, query and body together are proto3 JSON, as Google reads it, of what the rpc takes."""
    operation_id: str = case.operation.definition.raw["operationId"]
    request = REQUEST_CLASSES["_".join(operation_id.split("_")[:2])]()
    body: Any = {} if isinstance(case.body, NotSet) else case.body
    try:
        query = {name: _as_sent(value) for name, value in case.query.items()}
        json_format.ParseDict({**case.path_parameters, **query, **body}, request)
        bounds.check(request)
    except (json_format.ParseError, TypeError, InvalidArgument):
        return False
    return True


def _as_sent(value: object) -> object:
    return [str(each) for each in value] if isinstance(value, list) else str(value)


def _sign(schema: BaseSchema, caller: Caller) -> None:
    @schema.auth(refresh_interval=None, retry_on=[])
    class Signed:
        def get(self, _: Sent, __: AuthContext) -> str:
            return caller.token()

        def set(self, case: Sent, token: str, _: AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {token}"

    @schema.hook
    def after_call(_: HookContext, __: Sent, response: Response) -> None:
        caller.note(response)
