"""The command that shows the groups of the event bus and retires those that are no more."""
