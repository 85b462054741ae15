"""Callers: keys, the tokens that keys sign, sessions that have ended."""
