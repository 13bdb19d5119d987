"""`rls coverage`: what the suites have put to the test."""
