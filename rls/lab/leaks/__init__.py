"""Noninterference on somebody's own data, policies and queries: only hidden rows change, and nothing visible may."""
