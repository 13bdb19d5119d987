"""Policies → what other systems and people read: PostgreSQL's row policies, and documentation of who sees what."""
