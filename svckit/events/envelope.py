"""The envelope of every event: id, lane, time, version and trace around a payload."""

from uuid import UUID

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from newsfeed.events.v1 import events_pb2 as pb

from svckit.context import current_call
from svckit.events.bus import BusEvent, Undecodable
from svckit.events.outbox import OutboxRecord
from svckit.ids import new_id

SCHEMA_VERSION = 1


def event_record(
    event: pb.Event, kind: str, lane: UUID, aggregate: tuple[str, UUID], occur_time: Timestamp
) -> OutboxRecord:
    """Fills in the envelope of `event`, which has its payload, and makes it an outbox record."""
    call = current_call.get()
    aggregate_type, aggregate_id = aggregate
    event_id = new_id()
    event.event_id = str(event_id)
    event.lane = str(lane)
    event.occur_time.CopyFrom(occur_time)
    event.schema_version = SCHEMA_VERSION
    event.traceparent = call.traceparent if call and call.traceparent else ""
    return OutboxRecord(
        event_id=event_id,
        lane=str(lane),
        aggregate_type=aggregate_type,
        aggregate_id=str(aggregate_id),
        type=kind,
        payload=event.SerializeToString(deterministic=True),
        headers={"traceparent": event.traceparent} if event.traceparent else {},
    )


def decoded(event: BusEvent) -> pb.Event:
    """The event as it was written; `Undecodable` also if its meaning is newer than we know."""
    try:
        message = pb.Event.FromString(event.payload)
    except DecodeError as error:
        raise Undecodable(event.type) from error
    if message.schema_version > SCHEMA_VERSION:
        raise Undecodable(f"schema version {message.schema_version}")
    return message
