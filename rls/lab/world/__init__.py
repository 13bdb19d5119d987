"""Policies, personas and rows as the other tools meet them: guarded, and as they are."""
