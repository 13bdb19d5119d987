-- A small warehouse for the golden queries: every type and oddity that a shape needs, the same on every run.
CREATE TYPE order_status AS ENUM ('open', 'paid', 'shipped', 'lost in court');
CREATE TYPE plan_kind AS ENUM ('free', 'gold');

CREATE TABLE tenants (id VARCHAR, name VARCHAR, plan plan_kind);
INSERT INTO tenants VALUES ('acme', 'Acme', 'gold'), ('globex', 'Globex', 'free'), ('initech', 'Initech', 'gold');

CREATE TABLE customers (
  id INTEGER, tenant_id VARCHAR, region VARCHAR, name VARCHAR, email VARCHAR,
  "Credit Limit" DECIMAL(10, 2), tags VARCHAR[], address STRUCT(city VARCHAR, zip VARCHAR), since DATE
);
INSERT INTO customers
SELECT i, ['acme', 'acme', 'globex', 'initech'][i % 4 + 1], ['EMEA', 'APAC', 'AMER', NULL][i % 7 % 4 + 1],
       'Customer ' || chr(65 + i::INTEGER), CASE WHEN i % 6 <> 5 THEN 'c' || i || '@' || (i % 3) || '.test' END,
       CASE WHEN i % 5 <> 0 THEN i * 1000.50 END,
       CASE i % 4 WHEN 0 THEN ['vip', 'eu'] WHEN 1 THEN [] WHEN 2 THEN ['vip', NULL] END,
       {'city': ['Paris', 'Oslo', 'Lima'][i % 3 + 1], 'zip': CASE WHEN i % 2 = 0 THEN '0' || i END},
       DATE '2023-01-15' + (i * 37)::INTEGER
FROM range(1, 25) t(i);

CREATE TABLE orders (
  id INTEGER, tenant_id VARCHAR, region VARCHAR, customer_id INTEGER, status order_status, amount DECIMAL(12, 2),
  placed_at TIMESTAMP, discount DOUBLE, notes JSON
);
INSERT INTO orders
SELECT i, c.tenant_id, c.region, CASE WHEN i % 11 <> 10 THEN c.id END, ['open', 'paid', 'shipped'][i % 3 + 1]::order_status,
       CASE WHEN i % 13 <> 12 THEN (i * 7919 % 1000) + 0.25 END, TIMESTAMP '2024-01-01 08:00:00' + INTERVAL (i * 29) HOUR,
       (i % 5) / 10.0, json_object('gift', i % 2 = 0, 'lines', [i, i + 1], 'a.b', i)
FROM range(1, 81) t(i) JOIN customers c ON c.id = i % 20 + 1
ORDER BY i;

CREATE TABLE products (id INTEGER, name VARCHAR, category VARCHAR, price DECIMAL(8, 2), attributes MAP(VARCHAR, VARCHAR));
INSERT INTO products VALUES
  (1, 'pen', 'office', 1.20, MAP {'colour': 'blue'}), (2, 'ink', 'office', 5.00, MAP {'colour': 'black', 'ml': '30'}),
  (3, 'desk', 'furniture', 300.00, MAP {}), (4, 'lamp', 'furniture', 40.00, NULL), (5, 'unsold', NULL, NULL, NULL);

CREATE TABLE order_items (order_id INTEGER, line INTEGER, tenant_id VARCHAR, product_id INTEGER, quantity INTEGER);
INSERT INTO order_items
SELECT o.id, l, o.tenant_id, (o.id + l) % 4 + 1, (o.id * l) % 6 + 1
FROM orders o, range(1, 4) t(l) WHERE (o.id + l) % 3 > 0 ORDER BY o.id, l;

CREATE TABLE employees (id INTEGER, tenant_id VARCHAR, manager_id INTEGER, name VARCHAR, department VARCHAR, salary INTEGER);
INSERT INTO employees VALUES
  (1, 'acme', NULL, 'Ann', 'board', 200), (2, 'acme', 1, 'Bob', 'sales', 110), (3, 'acme', 1, 'Cem', 'tech', 120),
  (4, 'acme', 3, 'Dee', 'tech', 90), (5, 'acme', 4, 'Eli', NULL, 80), (6, 'globex', NULL, 'Fay', 'board', 210),
  (7, 'globex', 6, 'Gus', 'sales', 100), (8, 'initech', NULL, 'Hal', 'board', 220), (9, 'globex', 1, 'Ivy', 'tech', 95);

CREATE TABLE events (
  id BIGINT, tenant_id VARCHAR, region VARCHAR, kind VARCHAR, seen_at TIMESTAMP, value INTEGER, scores DOUBLE[], payload JSON
);
INSERT INTO events
SELECT i, ['acme', 'globex', 'initech'][i % 3 + 1], ['EMEA', 'APAC', 'AMER'][i % 5 % 3 + 1], ['view', 'click', 'buy'][i % 4 % 3 + 1],
       TIMESTAMP '2024-03-01' + INTERVAL (i * 17) MINUTE, CASE WHEN i % 9 <> 0 THEN i % 100 END,
       [i % 7, NULL, i / 2.0]::DOUBLE[], json_object('page', '/p' || i % 6, 'ms', i * 3 % 251)
FROM range(1, 601) t(i);

CREATE TABLE rates (day TIMESTAMP, currency VARCHAR, rate DOUBLE);
INSERT INTO rates SELECT TIMESTAMP '2023-12-25' + INTERVAL (i * 5) DAY, 'EUR', 1 + i / 64.0 FROM range(24) t(i);

CREATE TABLE account_managers (user_id VARCHAR, customer_id INTEGER);
INSERT INTO account_managers VALUES ('u-ada', 3), ('u-ada', 6), ('u-max', 1), ('u-eve', 11), ('u-eve', NULL);

CREATE TABLE "Odd Table" ("a b" INTEGER, "select" VARCHAR, "ÄÖ" VARCHAR, "quote""d" INTEGER, tenant_id VARCHAR);
INSERT INTO "Odd Table" VALUES (1, 'x', 'ä', 10, 'acme'), (2, 'y', NULL, 20, 'globex'), (3, 'z', 'Ö', NULL, 'acme'), (NULL, NULL, NULL, NULL, NULL);

-- Nobody decided on this one.
CREATE TABLE secrets (id INTEGER, tenant_id VARCHAR, secret VARCHAR);
INSERT INTO secrets VALUES (1, 'acme', 'hidden from all');

CREATE SCHEMA finance;
CREATE TABLE finance.ledger (id INTEGER, tenant_id VARCHAR, account VARCHAR, amount DECIMAL(14, 2), booked DATE);
INSERT INTO finance.ledger
SELECT i, ['acme', 'globex', 'initech'][i % 3 + 1], ['cash', 'bank', 'debt'][i % 4 % 3 + 1], (i * 37 % 211) - 100.5, DATE '2024-01-01' + (i * 3)::INTEGER
FROM range(1, 40) t(i);
CREATE TABLE finance.orders (id INTEGER, tenant_id VARCHAR, supplier VARCHAR, amount INTEGER);
INSERT INTO finance.orders SELECT i, ['acme', 'globex', 'initech'][i % 3 + 1], 'S' || i % 4, i * 100 FROM range(1, 16) t(i);

CREATE VIEW recent_orders AS SELECT id, customer_id, amount AS total, region FROM orders WHERE placed_at >= TIMESTAMP '2024-02-01';
CREATE VIEW customer_totals(customer, orders, revenue) AS
  SELECT c.name, count(o.id), sum(o.amount) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.name;
CREATE VIEW best_customers AS SELECT customer, revenue FROM customer_totals WHERE revenue > 500;
CREATE VIEW finance.balances AS SELECT account, sum(amount) AS balance FROM finance.ledger GROUP BY account;
CREATE VIEW leaky AS SELECT s.secret, o.id FROM secrets s JOIN orders o USING (tenant_id);
CREATE MACRO all_orders() AS TABLE SELECT * FROM orders;
CREATE MACRO newest_status() AS (SELECT max(status) FROM orders);
CREATE SEQUENCE order_seq;
