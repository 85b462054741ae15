"""PostgreSQL: the pool, migrations, the outbox in it."""
