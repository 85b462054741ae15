"""The command that shows, puts back and drops dead letters of the event bus."""
