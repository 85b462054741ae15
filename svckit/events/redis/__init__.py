"""The bus's engine on Redis."""
