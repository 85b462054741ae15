-- The first partitions of the outbox, while nobody writes: what a relay attaches later gets into the
-- way of rows that are in the default partition already. Relays make all others, ahead of time.
DO $$
DECLARE
    slice interval := '6 hours';
    start_at timestamptz := date_bin(slice, now(), 'epoch');
    end_at timestamptz := start_at + interval '2 days';
BEGIN
    IF EXISTS (SELECT FROM outbox) THEN
        RETURN;
    END IF;
    WHILE start_at < end_at LOOP
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS %I PARTITION OF outbox FOR VALUES FROM (%L) TO (%L)',
            to_char(start_at AT TIME ZONE 'UTC', '"outbox_"YYYYMMDD_HH24'), start_at, start_at + slice
        );
        start_at := start_at + slice;
    END LOOP;
END
$$;
