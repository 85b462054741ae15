"""Does the oracle of content_svc bite? Mistakes that one could make, each of which it has to find.

    python -m tests.oracle.posts.mistakes [--seconds N] [--part K/N] [words of names ...]

Each is made in a copy of its package; `test_posts` on that copy has to fail.
"""

import os
import re
import subprocess
import sys

from tests.oracle.shared.mistakes import (
    ERRORS_SHOWN,
    ROOT,
    Edit,
    Mistake,
    Tally,
    chosen,
    made,
    mistake,
    parser_of,
)

SECONDS = 240
_LIVENESS = (
    "            if not isinstance(await self._post_store.in_change(change, post_id), Post):\n"
    "                raise PostNotFound(post_id=str(post_id))\n"
)
_ONLY_FILLED_AGAIN = Edit(
    "svckit/mongo/outbox.py",
    "first = await self._first_of_the_last(last_s)",
    "first = await self._first_of_the_last(last_s) if last_s is None else None",
)
_PURGED_AT_ONCE = Edit(
    "content_svc/maintenance.py",
    "elif now_ms <= settled_ms:",
    "elif False:",
)


MISTAKES = (
    mistake(
        "events are written before the change is",
        "svckit/events/changes.py",
        "await self._append(transaction, change.events)",
        "await self._store.run(lambda own: self._append(own, change.events))",
    ),
    mistake(
        "events are written after the change was",
        "svckit/events/changes.py",
        "            await self._append(transaction, change.events)\n"
        "            return result, bool(change.events)",
        "            return result, change.events",
        Edit(
            "svckit/events/changes.py",
            "        result, has_events = await self._store.run(attempt)\n",
            "        result, has_events = await self._store.run(attempt)\n"
            "        await self._store.run(lambda own: self._append(own, has_events))\n",
        ),
    ),
    mistake(
        "marked before it is published, and the last minute not published again",
        "svckit/events/relay.py",
        "        await self._publish([record for _, record in batch])\n"
        "        await self._mark([key for key, _ in batch])\n",
        "        await self._mark([key for key, _ in batch])\n"
        "        await self._publish([record for _, record in batch])\n",
        _ONLY_FILLED_AGAIN,
    ),
    mistake(
        "skipped when it could not be published, and the last minute not published again",
        "svckit/events/relay.py",
        "        await self._publish([record for _, record in batch])\n",
        "        with suppress(Exception):\n"
        "            await self._publish([record for _, record in batch])\n",
        _ONLY_FILLED_AGAIN,
    ),
    mistake(
        "an emptied bus stays empty",
        "svckit/events/relay.py",
        "            lacks_s = epoch.lacks_s\n",
        "            pass\n",
    ),
    mistake(
        "the newest is published first",
        "svckit/mongo/outbox.py",
        '{"is_published": False}, sort={"is_published": 1, "seq": 1}, limit=limit',
        '{"is_published": False}, sort={"is_published": 1, "seq": -1}, limit=limit',
    ),
    mistake(
        "by the clock of who writes",
        "svckit/mongo/outbox.py",
        '"seq": _FROM_THE_SERVER,',
        '"seq": Timestamp(int(now.timestamp()), record.event_id.int % 1000),',
    ),
    mistake(
        "acknowledged before it is handled",
        "svckit/events/delivery.py",
        "            await self._settle(partition, deliveries)\n"
        "            self._finish(partition, deliveries)\n",
        "            self._finish(partition, deliveries)\n"
        "            await self._settle(partition, deliveries)\n",
    ),
    mistake(
        "a lane is not handled in order",
        "svckit/events/delivery.py",
        'self._line_up(partition, "" if self._is_batch else event.lane, delivery)',
        'self._line_up(partition, "" if self._is_batch else str(event.event_id), delivery)',
    ),
    mistake(
        "acknowledged before it is on the disk",
        "svckit/mongo/client.py",
        'w="majority"',
        "w=1",
    ),
    mistake(
        "the purge forgets likes",
        "content_svc/maintenance.py",
        "comments + await self._likes.purge_post(post_id, self._limits.batch)",
        "comments",
    ),
    mistake(
        "the purge forgets comments",
        "content_svc/maintenance.py",
        "comments = await self._comments.purge_post(post_id, self._limits.batch)",
        "comments = 0",
    ),
    mistake(
        "the purge forgets shares",
        "content_svc/maintenance.py",
        "shares = await self._post_store.shares_of(post_id, self._limits.batch)",
        "shares: list[Post] = []",
    ),
    mistake(
        "the purge forgets the comments of who has left",
        "content_svc/maintenance.py",
        "comments = await self._comments.made_by(user_id, self._limits.batch)",
        "comments: list[Comment] = []",
    ),
    mistake(
        "the purge of who has left tells nothing of likes",
        "content_svc/maintenance.py",
        "                change.emit(events.post_unliked(like, self._clock_ms()))\n",
        "                pass\n",
    ),
    mistake(
        "deleted, but not to be purged",
        "content_svc/posts.py",
        "await self._purges.add(change, Purge(PurgeKind.POST, post.post_id, now_ms))",
        "pass",
    ),
    Mistake("the purge looks once only", (_PURGED_AT_ONCE,)),
    mistake(
        "likes do not look whether the post lives, the purge looks once only",
        "content_svc/likes.py",
        _LIVENESS,
        "",
        _PURGED_AT_ONCE,
    ),
    mistake(
        "an edit is not forgotten by the cache",
        "content_svc/posts.py",
        "        post = await self._changes.run(write)\n        self._cache.forget(post_id)\n",
        "        post = await self._changes.run(write)\n",
    ),
    mistake(
        "a deletion is not forgotten by the cache",
        "content_svc/posts.py",
        "        delete_time_ms = await self._changes.run(write)\n"
        "        self._cache.forget(post_id)\n",
        "        delete_time_ms = await self._changes.run(write)\n",
    ),
    mistake(
        "the cache remembers what was read before the change",
        "content_svc/cache.py",
        "if forgotten == self._forgotten:",
        "if True:",
    ),
    mistake(
        "an edit writes over a deleted post",
        "content_svc/posts.py",
        "            if not isinstance(before, Post):\n"
        "                raise PostNotFound(post_id=str(post_id))\n"
        "            draft = merge(before)",
        "            before = before if isinstance(before, Post) else current\n"
        "            draft = merge(before)",
    ),
    mistake(
        "an edit starts from what was read before",
        "content_svc/posts.py",
        "            draft = merge(before)\n",
        "            before = current\n            draft = merge(before)\n",
    ),
    mistake(
        "tags stay as they were before an edit",
        "content_svc/posts.py",
        "                tags=all_tags(draft.given_tags, draft.content),\n",
        "                tags=before.tags,\n",
    ),
    mistake(
        "words stay as they were before an edit",
        "content_svc/store.py",
        '        fields = _fields(post)\n        gone = {name: ""',
        '        fields = _fields(post)\n        del fields["words"]\n        gone = {name: ""',
    ),
    mistake(
        "shares of deleted posts shown",
        "content_svc/posts.py",
        "live = await self._store.live_ids(targets) if targets else set()",
        "live = targets",
    ),
    mistake(
        "anybody likes across a block",
        "content_svc/likes.py",
        "        await self._posts.require_reachable(user_id, post.author_id)\n",
        "",
    ),
    mistake(
        "anybody shares across a block",
        "content_svc/posts.py",
        "        await self.require_reachable(author_id, shared.author_id)\n",
        "",
    ),
    mistake(
        "shares of who is hidden are shown",
        "content_svc/posts.py",
        "[post for post in seen if post.shared_author_id not in hidden]",
        "[post for post in seen]",
    ),
    mistake(
        "comments of who is hidden are shown",
        "content_svc/comments.py",
        "return [each for each in comments if each.author_id not in hidden]",
        "return comments",
    ),
    mistake(
        "a short page is the last one",
        "content_svc/paging.py",
        "    return page, place\n",
        "    return page, place if len(page) == limit else None\n",
    ),
    mistake(
        "a page begins with the last of the one before",
        "content_svc/store.py",
        '{**query, "place": {"$lt": packed(before)}}',
        '{**query, "place": {"$lte": packed(before)}}',
    ),
    mistake(
        "places are compared from the wrong end",
        "content_svc/store.py",
        'time_ms.to_bytes(_TIME_BYTES, "big")',
        'time_ms.to_bytes(_TIME_BYTES, "little")',
        Edit(
            "content_svc/store.py",
            'int.from_bytes(place[:_TIME_BYTES], "big")',
            'int.from_bytes(place[:_TIME_BYTES], "little")',
        ),
    ),
    mistake(
        "who asks for references gets no second look",
        "content_svc/posts.py",
        "if len(references) < wanted or len(found) == limit:",
        "if True:",
    ),
    mistake(
        "the digest leaves out the location",
        "content_svc/model.py",
        '"location": post.location and asdict(post.location),',
        "",
    ),
    mistake(
        "the same id gives the post of somebody else",
        "content_svc/store.py",
        '{"_id": post.post_id, "author_id": post.author_id, "digest": post_digest(post)}',
        '{"_id": post.post_id, "digest": post_digest(post)}',
    ),
    mistake(
        "the same comment again is an error",
        "content_svc/comments.py",
        "first = await self._store.first_of(comment)",
        "first = None",
    ),
    mistake(
        "a second like is told",
        "content_svc/likes.py",
        "if await self._store.add(change, like):",
        "if await self._store.add(change, like) or True:",
    ),
    mistake(
        "a deletion again has another time",
        "content_svc/posts.py",
        "                return post.delete_time_ms",
        "                return now_ms",
    ),
    mistake(
        "anybody deletes comments",
        "content_svc/comments.py",
        "            if not may_delete:\n",
        "            if False:\n",
    ),
    mistake(
        "an edit is told as it was before",
        "content_svc/posts.py",
        "events.post_updated(before, after, self._media_base_url)",
        "events.post_updated(after, before, self._media_base_url)",
    ),
    mistake(
        "likes are in the lane of the author",
        "content_svc/events.py",
        '_record(like.user_id, like.post_id, "PostLiked"',
        '_record(like.post_author_id, like.post_id, "PostLiked"',
    ),
    mistake(
        "nobody tells that a person was named in a comment",
        "content_svc/events.py",
        "        done.record(pb.ACTIVITY_VERB_COMMENT, comment.post_author_id),\n"
        "        *done.naming(comment.mentions),\n",
        "        done.record(pb.ACTIVITY_VERB_COMMENT, comment.post_author_id),\n",
    ),
)


def main() -> None:
    arguments = parser_of("tests.oracle.posts.mistakes", SECONDS).parse_args()
    mistakes = chosen(MISTAKES, arguments)
    tally = Tally(mistakes)
    for each in mistakes:
        _look_for(each, arguments.seconds, tally)
    sys.exit(tally.end())


def _look_for(mistake: Mistake, seconds: float, tally: Tally) -> None:
    test = str(ROOT / "tests/oracle/posts/test_posts.py")
    options = ("-q", "--tb=short", "--show-capture=no", "-p", "no:cacheprovider")
    with made(mistake) as folder:
        done = subprocess.run(
            (sys.executable, "-P", "-m", "pytest", *options, "-o", "pythonpath=", test),
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": f"{folder}:{ROOT}",
                "ORACLE_SECONDS": str(seconds),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    after = re.search(r"CONTENT_ORACLE_SEED=\d+, after (\d+) s", done.stdout)
    if done.returncode and not after:
        raise RuntimeError(f"{mistake.name}: {done.stdout[-ERRORS_SHOWN:]}")
    found = [line[1:].strip() for line in done.stdout.splitlines() if line.startswith("E  ")]
    reason = next((line for line in found if "Difference" in line or "Error" in line), found[:1])
    details = f"{after[1]:>3} s {str(reason)[:100]}" if after else ""
    tally.note(mistake, details, is_caught=after is not None)


if __name__ == "__main__":
    main()
