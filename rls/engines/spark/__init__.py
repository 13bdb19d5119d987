"""GuardedQuery → rows or Arrow, on a Spark Connect server: sessions, its catalog, its values, its errors."""
