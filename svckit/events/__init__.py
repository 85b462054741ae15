"""Events from a change to whom they concern: outbox, relay, bus, delivery."""
