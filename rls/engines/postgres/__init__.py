"""GuardedQuery → rows, on a PostgreSQL server: connections, its catalog, its values, its errors."""
