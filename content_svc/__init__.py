"""Posts, shares, comments and likes (MongoDB)."""
