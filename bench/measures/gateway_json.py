"""The gateway's JSON against json_format's: a page of 20 posts written, a new post read.

    python -m bench.measures.gateway_json

Both do the same work in turn, so that what else the machine does slows down both.
"""

import time
from collections.abc import Callable, Sequence
from random import Random
from uuid import UUID

from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from newsfeed.content.v1.content_service_pb2 import MEDIA_KIND_IMAGE, CreatePostRequest, Post
from newsfeed.feed.v1.feed_service_pb2 import FeedItem, ListHomeFeedResponse, UserCard

from bench.tools.measure import Measure, Site
from gateway.decoder import MessageReader, Violations, parse
from gateway.encoder import Encoders
from gateway.model import JsonBounds

ITEMS = 20
ROUNDS = 9
CALLS = 40
TEXT = "fog over the harbour this morning and a red boat in front of naïve cafés #hamburg"
WORDS = TEXT.split()


def page_of_feed(random: Random) -> ListHomeFeedResponse:
    items = [_item(random, is_share=number % 5 == 4) for number in range(ITEMS)]
    return ListHomeFeedResponse(items=items, next_page_token="A" * 120)


def _item(random: Random, *, is_share: bool) -> FeedItem:
    item = FeedItem(post=_post(random), author=_card(random))
    item.engagement.like_count = random.randrange(1, 1000)
    item.engagement.comment_count = random.randrange(1, 100)
    item.engagement.view_count = random.randrange(1, 100_000)
    item.viewer.liked = random.random() < 0.3
    if is_share:
        item.shared_post.CopyFrom(_post(random))
        item.shared_author.CopyFrom(_card(random))
        item.post.shared_post_id = item.shared_post.post_id
    return item


def _post(random: Random) -> Post:
    post = Post(post_id=_id(random), author_id=_id(random))
    post.content = " ".join(random.choices(WORDS, k=30))
    post.metadata.tags.extend(random.sample(WORDS, 2))
    if random.random() < 0.5:
        url = f"https://cdn.example.com/photos/{_id(random)}.jpg"
        alt = " ".join(random.choices(WORDS, k=8))
        post.metadata.media.add(url=url, kind=MEDIA_KIND_IMAGE, width=1600, height=1200, alt=alt)
    post.create_time.FromMilliseconds(1_790_000_000_000 + random.randrange(10**9))
    post.update_time.CopyFrom(post.create_time)
    return post


def _card(random: Random) -> UserCard:
    avatar_url = f"https://cdn.example.com/avatars/{_id(random)}.png"
    return UserCard(
        user_id=_id(random), username="ada", display_name="Ada Lovelace", avatar_url=avatar_url
    )


def _id(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128)))


async def write_and_read_json(site: Site) -> list[Measure]:
    return take(site.rounds)


def take(rounds: int = ROUNDS) -> list[Measure]:
    random = Random(1)
    page = page_of_feed(random).SerializeToString()
    encode = Encoders().to_bytes(_descriptor(ListHomeFeedResponse.DESCRIPTOR.full_name))
    post = _post(random)
    request = CreatePostRequest(content=post.content, metadata=post.metadata)
    body = json_format.MessageToJson(request).encode()
    bounds = JsonBounds()
    read = MessageReader(_descriptor(CreatePostRequest.DESCRIPTOR.full_name), bounds)
    encoded = _in_turn(
        # Each time a new message, as it comes from a service: nothing in it has been looked at.
        lambda: encode(ListHomeFeedResponse.FromString(page)),
        lambda: json_format.MessageToJson(
            ListHomeFeedResponse.FromString(page), always_print_fields_with_no_presence=True
        ).encode(),
        rounds,
    )
    decoded = _in_turn(
        lambda: _read(read, body, Violations(bounds.violations_max)),
        lambda: json_format.Parse(body, CreatePostRequest()),
        rounds,
    )
    return [
        Measure(
            "gateway.json_encode_ratio",
            "x",
            [theirs / ours for ours, theirs in encoded],
            at_least=4,
        ),
        Measure("gateway.json_encode", "us", [ours for ours, _ in encoded]),
        Measure("gateway.json_decode_ratio", "x", [theirs / ours for ours, theirs in decoded]),
        Measure("gateway.json_decode", "us", [ours for ours, _ in decoded]),
    ]


def _read(read: MessageReader, body: bytes, violations: Violations) -> Message:
    return read(parse(body, violations), "", violations)


def _descriptor(name: str) -> Descriptor:
    return descriptor_pool.Default().FindMessageTypeByName(name)


def _in_turn(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> Sequence[tuple[float, float]]:
    """Microseconds a call, of both, for every round."""
    return [(_time_us(ours), _time_us(theirs)) for _ in range(rounds)]


def _time_us(call: Callable[[], object]) -> float:
    call()
    started_ns = time.process_time_ns()
    for _ in range(CALLS):
        call()
    return (time.process_time_ns() - started_ns) / CALLS / 1000


if __name__ == "__main__":
    for each in take():
        spread = f"{min(each.values):.1f} - {max(each.values):.1f}"
        print(f"{each.name:<20}{each.median:>10.1f} {each.unit:<4}{spread:<20}{each.bar}")
