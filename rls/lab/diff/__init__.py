"""`rls diff`: what a change of the policies changes for whom."""
