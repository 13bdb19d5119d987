"""`rls matrix`: who sees how many rows of what."""
