"""`rls why`: one row, or one query, explained."""
