"""What every service needs and that knows no business word."""
