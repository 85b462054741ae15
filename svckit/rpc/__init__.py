"""Calls: the table of rpcs, its server, channels to other services, errors on the wire."""
