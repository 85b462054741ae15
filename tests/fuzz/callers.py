"""Who calls while the API is fuzzed, and what there is for them to call about."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any

from newsfeed.user.v1 import user_service_pb2 as pb
from schemathesis import Response

from tests.stacks.feed_stack import FeedStack

SIGN_UP_TIMEOUT_S = 10.0
POSTS = 5
SignUp = Callable[[], Coroutine[Any, Any, str]]


class Role(Enum):
    NOBODY = None
    USER = pb.ROLE_USER
    MODERATOR = pb.ROLE_MODERATOR
    ADMIN = pb.ROLE_ADMIN


class Caller:
    """Somebody with a role, for calls from another thread than the stack's.

    Becomes somebody new when their session has ended: among all that is tried are logging out,
    changing roles and deleting accounts.
    """

    def __init__(self, sign_up: SignUp) -> None:
        self._sign_up = sign_up
        self._loop = asyncio.get_running_loop()
        self._token = ""

    def token(self) -> str:
        if not self._token:
            signing_up = asyncio.run_coroutine_threadsafe(self._sign_up(), self._loop)
            self._token = signing_up.result(SIGN_UP_TIMEOUT_S)
        return self._token

    def note(self, response: Response) -> None:
        told = response.request.headers.get("Authorization")
        if response.status_code == 401 and told == f"Bearer {self._token}":
            self._token = ""


@dataclass(frozen=True)
class World:
    """Ids of what is there to begin with."""

    people: list[str]
    posts: list[str]
    comments: list[str]


async def make_world(stack: FeedStack) -> World:
    """Two who follow each other, with posts that have comments and likes."""
    ada, bob = [await stack.sign_up(name) for name in ("ada", "bob")]
    await ada.act("Follow", bob)
    await bob.act("Follow", ada)
    posts = [await ada.publish(f"#{number} is the best number") for number in range(POSTS)]
    comments = [await bob.comment(post) for post in posts]
    await bob.like(posts[0])
    await bob.share(posts[1])
    return World(
        [ada.user_id, bob.user_id],
        [post.post_id for post in posts],
        [comment.comment_id for comment in comments],
    )


def caller_with(stack: FeedStack, role: Role) -> Caller | None:
    """None = without a token."""
    if role is Role.NOBODY:
        return None

    async def sign_up() -> str:
        person = await stack.contents.people.sign_up_with_role(role.value, "fuzz")
        return person.tokens.access_token

    return Caller(sign_up)
