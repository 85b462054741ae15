"""Measures of the newsfeed, taken on real programs and real stores."""
