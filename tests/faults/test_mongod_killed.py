"""mongod killed (-9) and started again while people write: what was acknowledged is there.

Clients do as clients should: what failed is sent again under the same id until it is acknowledged.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
from newsfeed.content.v1 import content_service_pb2 as pb

from tests.polling import until
from tests.requests.refusals import refusal_of
from tests.stacks.content_stack import Author, ContentStack, open_content_stack
from tests.stacks.user_stack import open_user_stack
from tests.troubles.own_store import own_mongod

CLIENTS = 8
KILLS = 2
ACKNOWLEDGED_BEFORE_EACH = 150
SEND_AGAIN_S = 0.02


class Writers:
    """Each publishes, comments and likes, for as long as it takes."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.refusals = Counter[str]()
        self.posts = set[str]()
        self.comments = set[str]()
        self.likes = set[tuple[str, str]]()
        self._are_over = False

    def end(self) -> None:
        self._are_over = True

    async def write(self, author: Author) -> None:
        while not self._are_over:
            await self._write_about(author, pb.Post(post_id=str(uuid.uuid4())), str(uuid.uuid4()))

    async def _write_about(self, author: Author, post: pb.Post, comment_id: str) -> None:
        await self._acknowledged(lambda: author.publish("hello", post_id=post.post_id))
        self.posts.add(post.post_id)
        await self._acknowledged(lambda: author.comment(post, comment_id=comment_id))
        self.comments.add(comment_id)
        await self._acknowledged(lambda: author.like(post))
        self.likes.add((post.post_id, author.user_id))

    async def _acknowledged(self, call: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await call()
            except grpc.aio.AioRpcError as error:
                self.refusals[refusal_of(error).says] += 1
                await asyncio.sleep(SEND_AGAIN_S)
            else:
                self.acknowledged += 1
                return

    async def reach(self, more: int) -> None:
        enough = self.acknowledged + more
        await until(lambda: self.acknowledged >= enough, timeout_s=30.0)

    async def be_refused(self) -> None:
        before = self.refusals.total()
        await until(lambda: self.refusals.total() > before, timeout_s=10.0)


async def check(stack: ContentStack, writers: Writers) -> None:
    """All is there, once, and each with its one event; and nothing that was not asked for."""
    posts = {str(each["_id"]) for each in await stack.documents("posts")}
    comments = {str(each["_id"]) for each in await stack.documents("comments")}
    likes = {
        (str(each["post_id"]), str(each["user_id"])) for each in await stack.documents("likes")
    }
    assert (posts, comments, likes) == (writers.posts, writers.comments, writers.likes)
    told = Counter[str]()
    for event in await stack.events():
        match event.WhichOneof("payload"):
            case "post_created":
                told[event.post_created.post.post_id] += 1
            case "comment_created":
                told[event.comment_created.comment.comment_id] += 1
            case "post_liked":
                told[event.post_liked.post_id + event.post_liked.user_id] += 1
    expected = {*posts, *comments, *(post_id + user_id for post_id, user_id in likes)}
    assert told == Counter(expected)


async def test_what_was_acknowledged_is_there_with_its_event(
    postgres_dsn: str, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    writers = Writers()
    async with (
        own_mongod(tmp_path) as mongod,
        open_user_stack(postgres_dsn, keys) as people,
        open_content_stack(mongod.url, people, keys) as stack,
    ):
        authors = [await stack.sign_up() for _ in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            for author in authors:
                group.create_task(writers.write(author))
            for _ in range(KILLS):
                await writers.reach(ACKNOWLEDGED_BEFORE_EACH)
                await mongod.kill()
                await writers.be_refused()
                await mongod.start()
            await writers.reach(ACKNOWLEDGED_BEFORE_EACH)
            writers.end()
        await check(stack, writers)
    refused = set(writers.refusals)
    assert refused <= {"UNAVAILABLE DEPENDENCY_UNAVAILABLE", "DEADLINE_EXCEEDED DEADLINE_EXCEEDED"}
    print(f"{writers.acknowledged} acknowledged, {dict(writers.refusals)} sent again")  # noqa: T201
