"""MongoDB: the client, migrations, the outbox in it. Only this room knows the driver."""
