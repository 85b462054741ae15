"""Who calls: keys, the tokens that they sign, sessions that have ended."""
