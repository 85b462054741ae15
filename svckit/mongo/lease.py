"""One document that says who is at work, until when: the right to do something alone.

By the server's clock. Its `token` rises with every change of owner, so that who has lost the lease
without noticing can be told from who holds it.
"""

from datetime import UTC, datetime

from svckit.mongo.client import Collection, Document

LONG_AGO = datetime.fromtimestamp(0, UTC)


async def hold(leases: Collection, name: str, owner: str, ttl_s: float) -> Document | None:
    """Take or renew the lease; None = another holds it."""
    is_free = {"$expr": {"$lt": ["$expires_at", "$$NOW"]}}
    is_mine = {"$eq": ["$owner", owner]}
    taken = {
        "owner": owner,
        "token": {"$add": ["$token", {"$cond": [is_mine, 0, 1]}]},
        "expires_at": {"$add": ["$$NOW", int(ttl_s * 1000)]},
    }
    query = {"_id": name, "$or": [{"owner": owner}, is_free]}
    found = await leases.find_and_update(query, [{"$set": taken}])
    if found is None:
        nobodys = {"_id": name, "owner": "", "token": 0, "expires_at": LONG_AGO}
        if await leases.insert_if_absent(nobodys):
            return await leases.find_and_update(query, [{"$set": taken}])
    return found


async def release(leases: Collection, name: str, owner: str) -> None:
    """Let the next one in at once; harmless when it is another's."""
    await leases.update({"_id": name, "owner": owner}, {"$set": {"expires_at": LONG_AGO}})
