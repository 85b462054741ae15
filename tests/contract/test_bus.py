"""The suites of the event bus on its engines: Redis Streams, on every server that speaks Redis."""
