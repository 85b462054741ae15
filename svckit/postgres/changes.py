"""The unit of work of a service on PostgreSQL: its rows and its events in one transaction."""

from typing import TypeAlias

from svckit.events import changes
from svckit.postgres.client import Connection

Change: TypeAlias = changes.Change[Connection]
Changes: TypeAlias = changes.Changes[Connection]
