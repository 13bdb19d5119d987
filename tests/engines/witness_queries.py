"""Queries of the fixture warehouse for more than one engine.

`EVERYWHERE` are SQL that DuckDB and PostgreSQL read alike, over columns that nobody has masked: they run under native
row security as well, as do those that `draw` gives. `GUARDED` are DuckDB's SQL, and so are `ON_POSTGRES`, some of which Spark lacks. `NOT_PORTABLE` are refused, with the word
that names the construct.
"""

from __future__ import annotations

import random

EVERYWHERE = [
    "SELECT count(*) FROM orders",
    "SELECT id, region, amount, ordered_at, shipped_on FROM orders",
    "SELECT region, count(*) AS n, sum(amount) AS s, max(ordered_at) AS m FROM orders GROUP BY region",
    "SELECT o.id, l.line_no, l.quantity FROM orders o JOIN order_lines l ON l.order_id = o.id WHERE l.quantity > 2",
    "SELECT c.id, count(o.id) AS n FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id",
    "SELECT id, name FROM customers WHERE region IN ('EMEA', 'AMER') OR region IS NULL",
    "SELECT id, name, department FROM employees",
    "SELECT e.id, m.id AS boss FROM employees e LEFT JOIN employees m ON m.id = e.manager_id",
    "SELECT event_date, count(*) AS n, sum(revenue) AS r FROM events WHERE is_mobile GROUP BY event_date",
    "SELECT id, account, amount, classification FROM finance.ledger",
    "SELECT id, supplier, amount FROM finance.orders WHERE amount > 100",
    'SELECT region, department, sum("Target €") AS t FROM "2024 Targets" GROUP BY region, department',
    "SELECT id, name FROM tenants",
    "SELECT id FROM customers EXCEPT SELECT customer_id FROM orders",
    "SELECT region FROM orders UNION SELECT region FROM customers",
    "SELECT id FROM orders WHERE amount > (SELECT avg(amount) FROM orders)",
    "SELECT c.id FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.amount > 500)",
    "SELECT id FROM customers WHERE id NOT IN (SELECT customer_id FROM orders WHERE customer_id IS NOT NULL)",
    "SELECT id, rank() OVER (PARTITION BY region ORDER BY amount DESC, id) AS r FROM orders",
    "WITH big AS (SELECT * FROM orders WHERE amount > 300) SELECT customer_id, count(*) AS n FROM big GROUP BY customer_id",
    "SELECT region, id FROM (SELECT region, id FROM orders WHERE id % 2 = 0) AS even WHERE region <> 'EMEA'",
    "SELECT id, (region = 'EMEA') IS NOT TRUE AS elsewhere FROM customers WHERE (region <> 'AMER') IS NOT FALSE",
    "SELECT id FROM customers WHERE NOT ((region = 'EMEA') IS TRUE) AND NOT (region IS DISTINCT FROM 'AMER')",
]

GUARDED = [
    "SELECT region, count(*) AS n, user.regions FROM orders GROUP BY ALL ORDER BY region",
    "SELECT DISTINCT mine FROM (SELECT user.regions AS mine FROM orders WHERE region IN user.regions)",
    "WITH me AS (SELECT user.regions AS mine) SELECT id, mine FROM orders, me WHERE list_contains(mine, region) ORDER BY id",
    "SELECT CASE WHEN id % 2 = 0 THEN user.regions END AS mine, id FROM customers ORDER BY id LIMIT 5",
    "SELECT * FROM account_managers ORDER BY ALL",
    "SELECT id, email, region FROM customers ORDER BY email, id",
    "SELECT customer_email, amount, status FROM orders ORDER BY id",
    "SELECT status, count(*) n FROM orders GROUP BY ALL ORDER BY n DESC, status",
    "SELECT * EXCLUDE (email, salary) REPLACE (upper(name) AS name) FROM employees ORDER BY id",
    "FROM orders o JOIN customers c ON o.customer_id = c.id SELECT c.name, o.id ORDER BY o.id",
    "SELECT name, salary FROM employees WHERE salary > 50000 ORDER BY name, salary",
    "SELECT c.name, count(o.id) AS n, sum(o.amount) AS total FROM customers c LEFT JOIN orders o ON o.customer_id = c.id "
    "GROUP BY c.name ORDER BY total DESC, c.name LIMIT 20",
    "WITH monthly AS (SELECT date_trunc('month', ordered_at) AS m, sum(amount) AS s FROM orders GROUP BY 1) "
    "SELECT m, s, sum(s) OVER (ORDER BY m) AS running, lag(s) OVER (ORDER BY m) AS before FROM monthly ORDER BY m",
    'SELECT p.category, sum(l."Line Total") AS total, sum(l.quantity * l.unit_price * (1 - l.discount)) AS computed '
    "FROM order_lines l JOIN products p ON p.id = l.product_id GROUP BY p.category HAVING count(*) > 3 ORDER BY total DESC",
    "SELECT event_date, type, count(*) AS n, avg(score) AS s, avg(duration_ms) AS d FROM events GROUP BY ALL ORDER BY 1, 2",
    "SELECT device, round(avg(score), 3) AS s, round(sum(revenue), 1) AS r FROM events GROUP BY device ORDER BY device",
    "SELECT id, amount, row_number() OVER (PARTITION BY region ORDER BY amount DESC, id) AS r FROM orders QUALIFY r <= 3 "
    "ORDER BY region, r",
    "SELECT upper(name) AS u, lower(name) AS l, length(name) AS n FROM customers ORDER BY u, n",
    "SELECT DISTINCT region FROM orders ORDER BY region DESC",
    "SELECT id FROM orders WHERE ordered_at >= '2024-06-01' AND amount BETWEEN 100 AND 500.5 ORDER BY id",
    "SELECT extract('year' FROM ordered_at) AS y, quarter(ordered_at) AS q, count(*) FROM orders GROUP BY ALL ORDER BY ALL",
    "SELECT id, amount / 3 AS third, amount % 7 AS rest, id // 10 AS tens, amount / 0 AS inf FROM orders ORDER BY id",
    "SELECT customer_id, count(*) AS n FROM orders JOIN account_managers USING (customer_id) GROUP BY customer_id ORDER BY 1",
    "SELECT CASE WHEN amount > 1000 THEN 'large' WHEN amount > 100 THEN 'medium' ELSE 'small' END AS size, count(*) "
    "FROM orders GROUP BY 1 ORDER BY 1",
    "SELECT name FROM customers WHERE name ILIKE '%A%' OR name LIKE '%\\%' ORDER BY name",
    "SELECT sum(revenue) FILTER (WHERE is_mobile) AS mobile, count(DISTINCT user_id) AS users FROM events",
    "SELECT id, (SELECT max(amount) FROM orders) - amount AS gap FROM orders ORDER BY id",
    "SELECT user.tenant AS t, count(*) FROM orders WHERE region IN user.regions",
    "SELECT region, string_agg(name, ', ' ORDER BY name, id) AS names FROM customers GROUP BY region ORDER BY region",
    "SELECT number, shipped_on - CAST(ordered_at AS DATE) AS days FROM orders ORDER BY number",
    "SELECT date_diff('day', ordered_at, shipped_on) AS d, count(*) FROM orders GROUP BY d ORDER BY d",
    "SELECT coalesce(region, 'none') AS r, min(ordered_at), max(shipped_on) FROM orders GROUP BY r ORDER BY r",
    "SELECT region, status, count(*) AS n FROM orders GROUP BY ROLLUP (region, status) ORDER BY ALL",
    "SELECT region, amount, sum(amount) OVER w AS s, rank() OVER w AS r FROM orders "
    "WINDOW w AS (PARTITION BY region ORDER BY amount, id) ORDER BY region, s, r, amount",
    "SELECT CAST(amount AS INTEGER) AS i, CAST(id AS VARCHAR) || '-' || number AS s FROM orders ORDER BY s",
    "SELECT split_part(email, '@', 2) AS host, md5(name) AS h, left(name, 2) AS l FROM customers ORDER BY h, id",
    "WITH RECURSIVE below(id, depth) AS (SELECT id, 0 FROM employees WHERE user_id = 'acme-1' UNION ALL "
    "SELECT e.id, b.depth + 1 FROM employees e JOIN below b ON e.manager_id = b.id) "
    "SELECT depth, count(*) FROM below GROUP BY depth ORDER BY depth",
    "SELECT (SELECT count(*) FROM orders) AS COUNT, 1 AS one, NULL IS NULL",
    "SELECT v.n, count(o.id) FROM (VALUES (1, 'one'), (2, 'two')) v(k, n) LEFT JOIN orders o ON o.id % 3 = v.k "
    "GROUP BY v.n ORDER BY v.n",
]

GUARDED += [
    "SELECT DISTINCT ON (region) region, id FROM orders ORDER BY region, id DESC",
    "SELECT DISTINCT ON (customer_id, region) id FROM orders ORDER BY customer_id, region DESC, amount, id",
    "SELECT strftime(ordered_at, '%Y-%m of %d %H:%M') AS s, strftime(shipped_on, '%j') AS d, count(*) FROM orders GROUP BY ALL "
    "ORDER BY ALL",
    "SELECT id, epoch(ordered_at) AS e, strlen(region) AS l FROM orders ORDER BY id",
    "SELECT name FROM customers c SEMI JOIN orders o ON o.customer_id = c.id AND o.amount > 100 ORDER BY name",
    "SELECT name FROM customers c ANTI JOIN orders o ON o.customer_id = c.id ORDER BY name",
    "SELECT c.id, t.amount FROM customers c LEFT JOIN LATERAL (SELECT amount FROM orders o WHERE o.customer_id = c.id ORDER BY "
    "o.amount, o.id LIMIT 1) t ON true ORDER BY c.id",
    "SELECT id FROM orders WHERE amount > ALL (SELECT amount FROM finance.orders WHERE amount IS NOT NULL) ORDER BY id",
    "SELECT id FROM orders WHERE region >= ANY (SELECT region FROM customers) ORDER BY id",
    "SELECT id FROM orders ORDER BY id LIMIT (SELECT count(*) // 2 FROM customers)",
    "SELECT id, region FROM orders UNION BY NAME SELECT name, id FROM customers ORDER BY id, region, name",
    "SELECT id, sum(amount) OVER (ORDER BY ordered_at RANGE BETWEEN INTERVAL 3 DAY PRECEDING AND CURRENT ROW) AS s FROM orders "
    "ORDER BY id",
    "SELECT id, avg(amount) OVER (PARTITION BY region ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE "
    "CURRENT ROW) AS others FROM orders ORDER BY id",
    "SELECT region, status, sum(amount) AS s, grouping(region, status) AS g FROM orders GROUP BY ROLLUP (region, status) ORDER BY ALL",
    "SELECT device, stddev(score) AS s, stddev_pop(score) AS p, var_samp(score) AS v, var_pop(score) AS w, median(score) AS m FROM "
    "events GROUP BY device ORDER BY device",
    "SELECT $$ it's $$ AS a, id FROM tenants ORDER BY id",
    "PIVOT orders ON status USING sum(amount) GROUP BY region ORDER BY region",
    "WITH p AS (PIVOT (SELECT region, amount FROM orders) ON region USING count(*)) SELECT * FROM p ORDER BY ALL",
    "SELECT * FROM (PIVOT orders ON year(ordered_at) USING count(*) GROUP BY customer_id) ORDER BY customer_id LIMIT 4",
    "PIVOT (SELECT id, region FROM orders WHERE false) ON region USING count(*)",
    "SELECT g.n, count(o.id) AS c FROM generate_series(0, 6) AS g(n) LEFT JOIN orders o ON o.id % 7 = g.n GROUP BY g.n "
    "ORDER BY g.n",
    "SELECT r.range, o.id FROM range(3) AS r JOIN orders o ON o.id = r.range ORDER BY o.id",
    "SELECT m.day, count(o.id) AS c FROM generate_series(DATE '2024-01-01', DATE '2024-12-01', INTERVAL 1 MONTH) AS m(day) "
    "LEFT JOIN orders o ON date_trunc('month', o.ordered_at) = m.day GROUP BY m.day ORDER BY m.day",
    "SELECT region, arg_max(id, id) AS last, arg_min(ordered_at, id) AS first, max_by(amount, id) AS a FROM orders "
    "GROUP BY region ORDER BY region",
    "SELECT arg_max(id, amount) AS x FROM orders WHERE false",
    "SELECT count_if(amount > 500) AS n FROM orders WHERE false",
    "SELECT region, count_if(amount > 500) AS n FROM orders GROUP BY region ORDER BY region",
    "SELECT id, date_diff('hour', ordered_at, TIMESTAMP '2024-06-01 10:30:00') AS h, "
    "date_diff('quarter', ordered_at, DATE '2025-06-01') AS q FROM orders ORDER BY id",
    "SELECT o.id, l.id AS ledger FROM orders o ASOF JOIN finance.ledger l ON o.id >= l.id ORDER BY o.id",
    "SELECT c.id, o.id AS later FROM customers c ASOF LEFT JOIN orders o ON c.region = o.region AND c.id < o.id "
    "ORDER BY c.id",
    "SELECT o.id, p.amount FROM orders o ASOF JOIN (SELECT id * 3 AS k, amount FROM finance.orders) p ON p.k <= o.id "
    "ORDER BY o.id",
    "SELECT o.id, p.id AS p FROM orders o ASOF LEFT JOIN orders p ON o.region = p.region AND o.amount < p.amount AND "
    "o.customer_id = p.customer_id ORDER BY o.id",
    "SELECT o.id, c.id AS c FROM orders o ASOF JOIN customers c ON o.id > c.id ORDER BY o.id",
    "SELECT o.id, e.day FROM orders o ASOF LEFT JOIN (SELECT CAST(occurred_at AS DATE) AS day FROM events) e "
    "ON o.ordered_at >= e.day ORDER BY o.id",
    "SELECT o.id, c.n FROM orders o ASOF JOIN (SELECT name AS n FROM customers) c ON c.n >= o.number ORDER BY o.id, c.n",
    "SELECT region, status, count(*) AS n, sum(amount) AS s, grouping(region, status) AS g FROM orders WHERE id < 0 "
    "GROUP BY CUBE (region, status) HAVING count(*) < 5 ORDER BY ALL",
    "SELECT DISTINCT count(*) AS n, coalesce(region, 'all') || '!' AS r FROM orders WHERE amount < 0 GROUP BY ROLLUP (region) "
    "ORDER BY n, r",
    "SELECT customer_id, count(*) AS n, sum(count(*)) OVER (PARTITION BY customer_id IS NULL) AS s FROM orders WHERE id < 0 "
    "GROUP BY GROUPING SETS ((), (customer_id)) QUALIFY rank() OVER (ORDER BY count(*)) < 3 ORDER BY max(id), n, s",
    "SELECT year(ordered_at) AS y, year(ordered_at) + 1 AS next, max(id) AS m FROM orders WHERE id % 2 = 0 "
    "GROUP BY ROLLUP (year(ordered_at), region) ORDER BY region, y, m LIMIT 7",
    "SELECT t.n, t.y FROM (SELECT year(ordered_at) AS y, count(*) AS n FROM orders WHERE id < 0 GROUP BY CUBE (y)) t",
    "SELECT count(*) FILTER (WHERE region = 'EMEA') AS n FROM orders WHERE id < 0 GROUP BY GROUPING SETS ((region), ())",
    "SELECT k, count_if(x > 1) AS n FROM (VALUES (1, NULL), (1, 2), (2, NULL), (3, 0)) v(k, x) GROUP BY k ORDER BY k",
    "UNPIVOT order_lines ON quantity, line_no INTO NAME what VALUE amount",
    "UNPIVOT (SELECT id, amount::DOUBLE AS amount, customer_id FROM orders) ON COLUMNS(* EXCLUDE (id))",
    "SELECT * FROM order_lines UNPIVOT (v FOR k IN (line_no, quantity))",
    "SELECT u.k, count(*) AS n, max(u.v) AS m FROM (SELECT id, region, status::VARCHAR AS status FROM orders) AS o UNPIVOT INCLUDE "
    "NULLS (v FOR k IN (region AS 'where', status)) AS u JOIN customers c ON c.id = u.id GROUP BY u.k ORDER BY u.k",
    "WITH w AS (UNPIVOT (SELECT id, customer_id FROM orders) ON id, customer_id) SELECT name, sum(value) AS s FROM w "
    "WHERE value > (SELECT min(id) FROM orders) GROUP BY name ORDER BY name",
    "SELECT id FROM orders WHERE (customer_id, region) IN (SELECT id, region FROM customers) ORDER BY id",
    "SELECT o.id FROM orders o WHERE (o.customer_id, o.region) NOT IN (SELECT c.id, c.region FROM customers c WHERE c.id < 9) "
    "ORDER BY o.id",
    "SELECT k, x, (k, x) IN (SELECT id, nullif(id, 3)::INTEGER FROM orders) AS i, (x, k) NOT IN (SELECT 1, NULL::INTEGER) AS n "
    "FROM (VALUES (1, NULL), (1, 1), (2, NULL), (3, 3), (3, 0)) v(k, x) ORDER BY k, x",
    "SELECT count(*) AS n FROM orders USING SAMPLE 100%",
    "SELECT count(o.id) AS n FROM orders o TABLESAMPLE reservoir(100000 ROWS) WHERE o.id % 2 = 0",
    "SELECT count(*) AS n FROM (FROM orders TABLESAMPLE system(0%)) o",
    "SELECT count(*) AS n, count(DISTINCT id) AS d FROM (SELECT * FROM orders USING SAMPLE 3 ROWS)",
    "SELECT count(*) <= (SELECT count(*) FROM orders) AS ok FROM orders o JOIN customers c ON c.id = o.customer_id USING SAMPLE 50%",
    "SELECT region, quantile_cont(id, 0.9) AS q FROM orders GROUP BY region ORDER BY region",
    "SELECT quantile_cont(score, 0.25) AS q, quantile_cont(duration_ms, 1) AS m FROM events",
]

# What Spark and Sail lack beside those.
ON_POSTGRES = [
    "SELECT region, list(id ORDER BY amount DESC, id) AS ids, array_agg(amount ORDER BY id) AS l FROM orders "
    "GROUP BY region ORDER BY region",
    "SELECT list(id) AS l FROM orders WHERE false",
    "SELECT list(ordered_at ORDER BY id) FILTER (WHERE id < 20) AS l, list(region ORDER BY id) AS s FROM orders",
    "SELECT c.id, (SELECT list(o.id ORDER BY o.id) FROM orders o WHERE o.customer_id = c.id) AS l FROM customers c "
    "ORDER BY c.id",
]

NOT_PORTABLE = [
    ("SELECT count(*) FROM orders NATURAL LEFT JOIN customers", "NATURAL JOIN"),
    (
        "SELECT count(*) FROM (SELECT ordered_at AS t FROM orders) ASOF JOIN (SELECT occurred_at AS t FROM events) USING (t)",
        "ASOF JOIN with USING",
    ),
    ("SELECT * FROM range((SELECT count(*) % 7 FROM orders))", "a series whose bounds"),
    ("SELECT o.id, r.range FROM orders o, range(o.id % 3) r WHERE o.id < 12", "a series whose bounds"),
    (
        "WITH RECURSIVE best(k, v) USING KEY (k) AS (SELECT region, min(amount) FROM orders GROUP BY 1 UNION "
        "SELECT k, v + 1000 FROM best WHERE v < 1000) SELECT * FROM best",
        "USING KEY",
    ),
    ("SELECT median(amount) FROM orders", "median of DECIMAL"),
    ("SELECT o.id FROM orders o ASOF RIGHT JOIN events e ON o.ordered_at >= e.occurred_at", "ASOF JOIN like this"),
    ("SELECT o.id FROM orders o POSITIONAL JOIN events e", "POSITIONAL JOIN"),
    ("SELECT DISTINCT ON (region) region, id FROM orders ORDER BY id", "DISTINCT ON without"),
    ("SELECT [id] FROM orders", "a list"),
    ("SELECT TRY_CAST(number AS INTEGER) FROM orders", "TRY_CAST"),
    ("SELECT CAST(number AS INTEGER) FROM orders", "VARCHAR where INTEGER"),
    ("SELECT id, user.regions AS r FROM orders ORDER BY r", "ORDER BY VARCHAR"),
    ("SUMMARIZE orders", "SUMMARIZE"),
    ("UNPIVOT order_lines ON (quantity, line_no), (line_no, quantity) INTO NAME what VALUE a, b", "UNPIVOT"),
    ("SELECT column_name FROM (DESCRIBE orders)", "DESCRIBE"),
    ("SELECT DISTINCT settings FROM tenants", "JSON"),
    ("SELECT orders FROM orders", "a whole row as a value"),
    ("SELECT o.id FROM orders o, generate_series(1, 3000) g(n) WHERE o.id = g.n", "more than 2000 rows"),
    ("SELECT g.n FROM generate_series(DATE '2024-01-31', DATE '2024-05-01', INTERVAL 1 MONTH) g(n)", "by this step"),
    ("SELECT len(list(id)) FROM orders", "list"),
    ("SELECT DISTINCT list(id ORDER BY id) FROM orders", "list"),
    ("SELECT date_diff('week', ordered_at, shipped_on) FROM orders", "date_diff by `week`"),
    ("SELECT strftime(ordered_at, '%B') FROM orders", "strftime with"),
    ("SELECT id FROM orders TABLESAMPLE bernoulli(10%) REPEATABLE (7)", "a sample that is REPEATABLE"),
    ("SELECT o.id FROM orders o, customers c USING SAMPLE 10 ROWS", "so many rows of a join"),
    ("SELECT regexp_matches(number, 'a') FROM orders", "regexp_matches"),
    ("SELECT unnest([1, 2]) + id AS n FROM orders", "unnest"),
    ("SELECT settings->>'a' AS a FROM tenants", "a path into JSON"),
    ("SELECT name FROM customers ORDER BY name COLLATE NOCASE", "COLLATE"),
]

# Relations, with columns that nobody has masked: their names, and values that some of their rows have.
_COLUMNS = {
    "orders": {"id": "7", "customer_id": "3", "region": "'EMEA'", "amount": "250.5", "ordered_at": "'2024-06-01'"},
    "customers": {"id": "12", "region": "'AMER'", "name": "'M'"},
    "employees": {"id": "5", "department": "'sales'", "manager_id": "2", "name": "'K'"},
    "order_lines": {"order_id": "9", "line_no": "1", "quantity": "2"},
    "finance.ledger": {"id": "4", "amount": "1000", "classification": "2"},
    "finance.orders": {"id": "6", "amount": "500"},
    "tenants": {"name": "'acme'"},
}
_JOINS = (
    ("orders", "customer_id", "customers", "id"),
    ("order_lines", "order_id", "orders", "id"),
    ("employees", "manager_id", "employees", "id"),
    ("customers", "region", "orders", "region"),
)


def draw(seed: str) -> str:
    """A query of one or two relations that both engines read alike."""
    dice = random.Random(seed)
    left, key, right, other = dice.choice(_JOINS)
    joined = dice.random() < 0.6
    if not joined:
        left = dice.choice(list(_COLUMNS))
    names = [("a", left), *([("b", right)] if joined else [])]
    source = f"{left} AS a"
    if joined:
        source += f" {dice.choice(('JOIN', 'LEFT JOIN'))} {right} AS b ON a.{key} = b.{other}"
    where = f" WHERE {_condition(dice, names, depth=2)}" if dice.random() < 0.8 else ""
    column = _column(dice, names)
    match dice.randrange(4):
        case 0:
            second = _column(dice, names)
            return f"SELECT {column} AS k, count(*) AS n, min({second}) AS low FROM {source}{where} GROUP BY {column}"
        case 1:
            return f"SELECT DISTINCT {column} AS k FROM {source}{where}"
        case 2:
            word = dice.choice(("UNION", "EXCEPT", "INTERSECT"))
            return f"SELECT {column} AS k FROM {source}{where} {word} SELECT {column} FROM {source}"
        case _:
            return f"SELECT count(*) AS n, count({column}) AS c, max({column}) AS m FROM {source}{where}"


def _column(dice: random.Random, names: list[tuple[str, str]]) -> str:
    alias, relation = dice.choice(names)
    return f"{alias}.{dice.choice(list(_COLUMNS[relation]))}"


def _condition(dice: random.Random, names: list[tuple[str, str]], *, depth: int) -> str:
    alias, relation = dice.choice(names)
    name, value = dice.choice(list(_COLUMNS[relation].items()))
    column = f"{alias}.{name}"
    if depth and dice.random() < 0.5:
        first, second = (_condition(dice, names, depth=depth - 1) for _ in range(2))
        return dice.choice((f"({first} AND {second})", f"({first} OR {second})", f"NOT ({first})"))
    _, key, right, other = dice.choice(_JOINS)
    nested = [(f"s{depth}", right)]
    inner = (
        f"SELECT s{depth}.{other} FROM {right} AS s{depth} WHERE {_condition(dice, nested, depth=0)}" if depth else ""
    )
    if inner and key in _COLUMNS[relation]:
        word = dice.choice(("IN", "NOT IN"))
        return dice.choice(
            (f"{alias}.{key} {word} ({inner})", f"EXISTS ({inner} AND s{depth}.{other} = {alias}.{key})")
        )
    return dice.choice(
        (
            f"{column} {dice.choice(('<', '>=', '=', '<>'))} {value}",
            f"{column} IS NULL",
            f"{column} IS NOT NULL",
            f"{column} IN ({value}, {value})",
            f"{column} BETWEEN {value} AND {value}",
            f"coalesce({column} <= {value}, true)",
        )
    )
