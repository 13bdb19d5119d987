"""`rls mutate`: the mistakes that the suites would notice."""
