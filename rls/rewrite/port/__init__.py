"""A guarded DuckDB query → the same query in another engine's SQL, or a refusal that names what the engine lacks.

port              the whole way, and what is checked of the result's columns
normalise         text → tree in which every name is resolved (`write_out`: what only DuckDB says; `expand`: the rest)
statements        a query's clauses: `sources` (FROM), `group_by`, `order_by`, `limits`, `set_operations`
expressions       an expression: `comparisons`, `arithmetic`, `casts`, `functions` (`times`), `aggregates` (`ordering`)
scopes, kinds     what a name means there, and which types fit together (`nodes`: what a node may say)
dialect           what an engine's SQL must say: `postgres`, `spark` (`letters`: upper and lower case)
check             the finished text, parsed again in the engine's SQL
target            which engine, and where its relations are
"""
