"""A guarded DuckDB query → the same query in PostgreSQL's SQL, or a refusal that names what PostgreSQL lacks."""
