"""Home feeds: what each person gets to see, complete and in order."""
