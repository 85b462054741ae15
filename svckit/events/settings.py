"""Which bus a program is on, whatever engine serves it."""

from dataclasses import dataclass

from svckit.settings import Secret, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """Which bus it is."""

    redis_url: Secret = setting(
        "BUS_REDIS_URL", "Redis of the event bus; must not evict, should append to disk"
    )
    partitions: int = setting(
        "BUS_PARTITIONS", "fixed for the life of the bus", 16, at_least=1, at_most=1024
    )
    groups: str = setting(
        "BUS_GROUPS", "for these, by commas, events are kept even before they first run", ""
    )
    prefix: str = "bus"  # of all keys

    def expected_groups(self) -> set[str]:
        return {name.strip() for name in self.groups.split(",")} - {""}
