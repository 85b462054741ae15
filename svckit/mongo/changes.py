"""The unit of work of a service on MongoDB: its documents and its events in one transaction."""

from typing import TypeAlias

from svckit.events import changes
from svckit.mongo.client import Transaction

Change: TypeAlias = changes.Change[Transaction]
Changes: TypeAlias = changes.Changes[Transaction]
