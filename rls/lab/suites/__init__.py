"""`rls test`: suites read, planned, run and reported."""
