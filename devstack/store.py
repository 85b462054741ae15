"""The shape that the three stores share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from devstack.servers import Server


@dataclass(frozen=True, slots=True)
class StoreHome:
    """Where a store lives. What is not durable may be lost with its process, and is faster."""

    folder: Path
    port: int
    log: Path
    durable: bool


@dataclass(frozen=True, slots=True)
class Store:
    """`variable` names its URL to the programs; `ping` raises unless that URL answers."""

    name: str
    variable: str
    prepare: Callable[[StoreHome], Awaitable[Server]]
    ping: Callable[[str], Awaitable[None]]
