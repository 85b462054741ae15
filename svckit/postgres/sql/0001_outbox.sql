-- Events of this database's transactions on their way to the bus. The first five columns have the
-- names that Debezium's outbox router expects, should the relay ever be replaced by it.
-- A row is marked when the bus has it and kept for a day: the bus may lose what it took.

CREATE SEQUENCE outbox_seq;

CREATE TABLE outbox (
    id            uuid NOT NULL,
    aggregatetype text NOT NULL,
    aggregateid   text NOT NULL,
    type          text NOT NULL,
    payload       bytea NOT NULL,
    lane          text NOT NULL,
    headers       jsonb NOT NULL,
    seq           bigint NOT NULL DEFAULT nextval('outbox_seq'),
    xid           xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at  timestamptz,
    PRIMARY KEY (seq, created_at)
) PARTITION BY RANGE (created_at);

CREATE INDEX outbox_unpublished ON outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

-- The net under the partitions that are made ahead of time: takes what fits none of them.
CREATE TABLE outbox_default PARTITION OF outbox DEFAULT;

-- One row: which relay is at work, until when, and which bus it had filled.
CREATE TABLE outbox_lease (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    owner      text NOT NULL,
    token      bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    bus_epoch  text
);
