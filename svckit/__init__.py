"""The kit that every service needs; it knows no business word."""
