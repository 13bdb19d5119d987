"""A third policy set: schemas, quoted names, views, mappings with two dates, enums, delegation, a hierarchy by join.

Takes nothing; gives the set of a carrier over forty tables as files and tables, and the mistakes that were planted in
it. Each says which tool finds it and which words, the place to mend among them, the reader is shown.
"""

from __future__ import annotations

from tests.lab.planted import Fault

__all__ = ["ALIKE", "FAULTS", "FILES", "TABLES"]

_ALIKE = [
    *("ops.gates", "ops.pallets", "ops.seals", "ops.scans", "ops.routes", "ops.legs", "ops.trailers"),
    *("ops.incidents", "ops.washes", "ops.tolls", "ops.fuelings", "ops.inspections", "ops.permits"),
    *(
        "fin.accruals",
        "fin.payments",
        "fin.reminders",
        "fin.deposits",
        "fin.budgets",
        "fin.loans",
        "fin.taxes_due",
    ),
]
TABLES = """
CREATE SCHEMA ops; CREATE SCHEMA fin; CREATE SCHEMA hr; CREATE SCHEMA ref;
CREATE TYPE ops.grade AS ENUM ('open', 'shipped', 'void');
CREATE TABLE ref.carriers (code VARCHAR PRIMARY KEY, title VARCHAR);
CREATE TABLE ref."Lanes" ("Lane Id" INTEGER PRIMARY KEY, "From Port" VARCHAR, "To Port" VARCHAR);
CREATE TABLE ops.depots (depot_id INTEGER PRIMARY KEY, parent INTEGER, org VARCHAR NOT NULL, kind VARCHAR, title VARCHAR);
CREATE TABLE ops.assignments (login VARCHAR NOT NULL, depot_id INTEGER NOT NULL, valid_from DATE, valid_to DATE, rank INTEGER);
CREATE TABLE ops.delegations (from_login VARCHAR NOT NULL, to_login VARCHAR NOT NULL, starts DATE, ends DATE);
CREATE TABLE ops."Transport Orders" ("Order No" BIGINT PRIMARY KEY, org VARCHAR NOT NULL, depot_id INTEGER,
    "Customer Ref" BIGINT, status ops.grade, weight DECIMAL(9,2), placed TIMESTAMP, "E-Mail" VARCHAR, tags VARCHAR[],
    owner_login VARCHAR);
CREATE TABLE ops.stops ("Order No" BIGINT, seq INTEGER, remark VARCHAR, confidential BOOLEAN);
CREATE TABLE ops.drivers (driver_id BIGINT PRIMARY KEY, org VARCHAR NOT NULL, depot_id INTEGER, login VARCHAR,
    phone VARCHAR, iban VARCHAR);
CREATE TABLE ops.vehicles (plate VARCHAR PRIMARY KEY, org VARCHAR NOT NULL, depot_id INTEGER, axles INTEGER, retired BOOLEAN);
CREATE TABLE fin.invoices (id BIGINT PRIMARY KEY, org VARCHAR NOT NULL, "Order No" BIGINT, total DECIMAL(9,2),
    state VARCHAR, due DATE, iban VARCHAR, paid_on DATE);
CREATE TABLE fin.rates (id BIGINT PRIMARY KEY, org VARCHAR NOT NULL, segment VARCHAR, price DOUBLE, secrecy INTEGER);
CREATE TABLE hr.staff (staff_id INTEGER PRIMARY KEY, boss INTEGER, org VARCHAR NOT NULL, login VARCHAR, grade INTEGER,
    salary DECIMAL(9,2), left_on DATE);
CREATE TABLE hr.absences (staff_id INTEGER, kind VARCHAR, starts DATE, org VARCHAR NOT NULL);
CREATE TABLE hr.reviews (review_id INTEGER PRIMARY KEY, staff_id INTEGER, reviewer VARCHAR, score INTEGER, org VARCHAR NOT NULL);
CREATE TABLE "Kunden" (kunde BIGINT PRIMARY KEY, org VARCHAR NOT NULL, segment VARCHAR, iban VARCHAR, blocked BOOLEAN);
CREATE TABLE user_segments (login VARCHAR NOT NULL, segment VARCHAR NOT NULL, since DATE, until DATE);
CREATE TABLE embargo (kunde BIGINT NOT NULL, reason VARCHAR);
CREATE TABLE ops.docks (id BIGINT PRIMARY KEY, org VARCHAR NOT NULL, note VARCHAR);
CREATE TABLE fin.credits (id BIGINT PRIMARY KEY, org VARCHAR NOT NULL, note VARCHAR);
CREATE VIEW ops.late AS SELECT "Order No", org, weight FROM ops."Transport Orders" WHERE status = 'open';
"""
# For the catalog of forty tables: they differ in nothing but their names.
ALIKE = "".join(
    f"CREATE TABLE {name} (id BIGINT PRIMARY KEY, org VARCHAR NOT NULL, note VARCHAR);\n" for name in _ALIKE
)

IDENTITY = """
issuers:
  - name: https://freight.example
    audiences: [freight]
    algorithms: [HS256]
    keys: [{kid: app-1, secret: {env: A_SECRET_THAT_IS_NOT_HERE}}]
roles: [dispatcher, accountant, lead, hr]
attributes:
  org: {type: string, required: true}
  segments: {type: string, list: true}
  depots: {type: integer, list: true}
  secrecy: {type: integer}
  since: {type: date}
  night: {type: boolean}
"""
FILES = {
    "identity.yaml": IDENTITY,
    "personas.yaml": """
personas:
  dora: {subject: dora, roles: [dispatcher], attributes: {org: nord, segments: [food], depots: [1, 2], night: true}}
  karl: {subject: karl, roles: [accountant], attributes: {org: sued, segments: [food, parts], secrecy: 2, since: 2026-01-01}}
  lena: {subject: lena, roles: [lead], attributes: {org: nord, secrecy: 1}}
  hugo: {subject: hugo, roles: [hr], attributes: {org: sued}}
""",
    "wall.yaml": """
# Nobody sees another organisation's rows.
relations: {with_columns: [org]}
policies:
  - name: own_org
    as: restrictive
    using: org = user.org
""",
    "plain.yaml": """
relations: {with_columns: [org, note], in_schemas: [ops]}
policies:
  - {name: operations, to: [dispatcher, lead], using: "true"}
---
relations: {with_columns: [org, note], in_schemas: [fin]}
policies:
  - {name: books, to: [accountant], using: "true"}
---
relation: ref.carriers
public: true
---
relation: ref.Lanes
public: true
""",
    "depots.yaml": """
relation: ops.depots
policies:
  - name: assigned
    to: [dispatcher]
    using: >-
      EXISTS (SELECT 1 FROM ops.assignments AS a
              WHERE a.login = user.subject AND a.depot_id = depots.depot_id
                AND a.valid_from <= DATE '2026-01-15' AND (a.valid_to IS NULL OR a.valid_to > DATE '2026-01-15'))
  - name: led
    to: [lead]
    using: >-
      depot_id IN (
        WITH RECURSIVE below(depot_id, depth) AS (
          SELECT a.depot_id, 1 FROM ops.assignments AS a
          WHERE a.login = user.subject AND a.rank >= 3 AND a.valid_to IS NULL
          UNION
          SELECT d.depot_id, b.depth + 1 FROM below AS b JOIN ops.depots AS d ON d.parent = b.depot_id WHERE b.depth < 4
        )
        SELECT depot_id FROM below)
---
relation: ops.assignments
policies:
  - {name: own, to: [dispatcher, lead], using: login = user.subject}
---
relation: ops.delegations
policies:
  - {name: mine, to: [dispatcher, lead], using: from_login = user.subject OR to_login = user.subject}
---
relation: ops.vehicles
policies:
  - {name: listed, to: [dispatcher], using: depot_id IN user.depots AND NOT retired}
  - {name: heavy, to: [lead], using: axles BETWEEN 3 AND 5}
""",
    "orders.yaml": """
relation: ops."Transport Orders"
policies:
  - name: at_listed_depots
    to: [dispatcher]
    using: depot_id IN user.depots AND status <> 'void'
  - name: delegated
    to: [dispatcher]
    using: >-
      owner_login IN (SELECT d.from_login FROM ops.delegations AS d
                      WHERE d.to_login = user.subject AND d.starts <= DATE '2026-01-15' AND d.ends >= DATE '2026-01-15')
  - name: of_segments
    to: [accountant]
    using: >-
      "Customer Ref" IN (SELECT k.kunde FROM "Kunden" AS k WHERE k.org = user.org AND k.segment IN user.segments)
  - name: heavy
    to: [lead]
    using: weight >= 500 AND (status = 'open' OR list_contains(tags, 'priority'))
  - name: not_at_night
    as: restrictive
    to: [dispatcher]
    using: user.night OR placed < TIMESTAMP '2026-01-15 18:00:00'
  - name: no_embargo
    as: restrictive
    using: '"Customer Ref" IS NULL OR "Customer Ref" NOT IN (SELECT e.kunde FROM embargo AS e)'
columns:
  E-Mail: {mask: "'***'", except: [lead]}
---
relation: ops.stops
policies:
  - name: with_order
    to: [dispatcher, lead]
    using: >-
      EXISTS (SELECT 1 FROM ops."Transport Orders" AS o
              WHERE o."Order No" = stops."Order No" AND o.org = user.org AND o.status <> 'void')
      AND (confidential = false OR remark IS NULL)
---
relation: ops.drivers
policies:
  - {name: at_depots, to: [dispatcher], using: depot_id IN user.depots}
  - {name: myself, using: login = user.subject}
columns:
  phone: {mask: "'...' || right(phone, 2)", except: [dispatcher]}
  iban: {deny: true}
""",
    "fin.yaml": """
relation: fin.invoices
policies:
  - name: unpaid
    to: [accountant]
    using: state IN ('sent', 'overdue') AND paid_on IS NULL
  - name: recent
    to: [accountant]
    using: due >= user.since
  - name: of_own_orders
    to: [dispatcher]
    using: >-
      "Order No" IN (SELECT o."Order No" FROM ops."Transport Orders" AS o
                     WHERE o.org = user.org AND o.owner_login = user.subject)
columns:
  iban: {mask: "left(iban, 2) || '***'"}
---
relation: fin.rates
policies:
  - name: own_segments
    to: [accountant, lead]
    using: segment IN user.segments
  - name: secret
    as: restrictive
    using: secrecy <= user.secrecy
""",
    "hr.yaml": """
relation: hr.staff
policies:
  - name: hr_all
    to: [hr]
    using: left_on IS NULL OR left_on >= DATE '2025-01-01'
  - name: reports
    to: [lead]
    using: >-
      staff_id IN (
        WITH RECURSIVE team(staff_id) AS (
          SELECT s.staff_id FROM hr.staff AS s
          WHERE s.login = user.subject AND s.org = user.org AND s.left_on IS NULL
          UNION
          SELECT t.staff_id FROM hr.staff AS t JOIN team ON t.boss = team.staff_id WHERE t.org = user.org
        )
        SELECT staff_id FROM team)
columns:
  salary: {mask: "CASE WHEN login = user.subject THEN salary END", except: [hr]}
---
relation: hr.absences
policies:
  - name: hr_all
    to: [hr]
    using: kind NOT LIKE 'medical%'
---
relation: hr.reviews
policies:
  - name: own_reviews
    to: [lead]
    using: reviewer = user.subject AND score IS NOT NULL
  - name: low
    to: [hr]
    using: score < 3
""",
    "kunden.yaml": """
relation: Kunden
policies:
  - name: mapped_segments
    to: [dispatcher]
    using: >-
      segment IN (SELECT s.segment FROM user_segments AS s
                  WHERE s.login = user.subject AND s.since <= DATE '2026-01-15'
                    AND coalesce(s.until, DATE '9999-12-31') >= DATE '2026-01-15')
  - name: own_segments
    to: [accountant]
    using: segment IN user.segments AND NOT blocked
columns:
  iban: {mask: "'***'", except: [accountant]}
---
relation: user_segments
policies:
  - {name: own, to: [dispatcher], using: login = user.subject}
---
relation: embargo
policies:
  - {name: accountants, to: [accountant], using: reason IS NOT NULL}
""",
}

FAULTS: tuple[Fault, ...] = (
    Fault(
        "or true in a permissive",
        "check",
        ("policy.always_true", "orders.yaml:6"),
        change=(
            "orders.yaml",
            "status <> 'void'\n  - name: delegated",
            "(status <> 'void' OR true)\n  - name: delegated",
        ),
    ),
    Fault(
        "IS NOT NULL of a NOT NULL column",
        "check",
        ("policy.always_true", "kunden.yaml:12"),
        change=(
            "kunden.yaml",
            "segment IN user.segments AND NOT blocked",
            "segment IN user.segments OR org IS NOT NULL",
        ),
    ),
    Fault(
        "open on both sides of a number",
        "check",
        ("policy.always_true", "hr.yaml:34"),
        change=("hr.yaml", "using: score < 3", "using: score < 3 OR score >= 3"),
    ),
    Fault(
        "BETWEEN over everything",
        "suite",
        ("should not be", "depots.yaml:33"),
        change=("depots.yaml", "axles BETWEEN 3 AND 5", "axles BETWEEN 0 AND axles"),
        relation="ops.vehicles",
    ),
    Fault(
        "status is one or not the other",
        "check",
        ("policy.always_true", "orders.yaml:6"),
        change=(
            "orders.yaml",
            "depot_id IN user.depots AND status <> 'void'",
            "depot_id IN user.depots OR status <> 'void' OR status = 'void'",
        ),
    ),
    Fault(
        "alias compared with itself in EXISTS",
        "check",
        ("policy.always_true", "orders.yaml:33"),
        change=("orders.yaml", 'WHERE o."Order No" = stops."Order No" AND', 'WHERE o."Order No" = o."Order No" AND'),
    ),
    Fault(
        "one table excepted from the wall",
        "check",
        ("policy.no_wall", "plain.yaml:8"),
        change=("wall.yaml", "{with_columns: [org]}", "{with_columns: [org], except: [fin.credits]}"),
    ),
    Fault(
        "wall for one schema only",
        "check",
        ("policy.no_wall", "hr.yaml:6"),
        change=("wall.yaml", "{with_columns: [org]}", "{with_columns: [org], in_schemas: [ops, fin, main]}"),
    ),
    Fault(
        "no org in sub-query over Kunden",
        "suite",
        ("should not be", "orders.yaml:14"),
        change=("orders.yaml", "WHERE k.org = user.org AND k.segment", "WHERE k.segment"),
        relation="ops.Transport Orders",
    ),
    Fault(
        "no org in stops",
        "suite",
        ("visible", "orders.yaml:33"),
        change=("orders.yaml", "AND o.org = user.org AND o.status", "AND o.status"),
        relation="ops.stops",
    ),
    Fault(
        "wall compares lower case",
        "suite",
        ("should not be",),
        change=("wall.yaml", "using: org = user.org", "using: lower(org) = lower(user.org)"),
        relation="fin.credits",
    ),
    Fault(
        "wall permissive for quoted table",
        "check",
        ("policy.no_wall", "hr.yaml:6"),
        change=("wall.yaml", "    as: restrictive\n", ""),
    ),
    Fault(
        "wall opens for org NULL attribute",
        "check",
        ("policy.pattern", "wall.yaml:7"),
        change=("wall.yaml", "using: org = user.org", "using: org LIKE user.org"),
    ),
    Fault(
        "NULL secrecy",
        "check",
        ("policy.null_opens", "fin.yaml:25"),
        change=("fin.yaml", "secrecy <= user.secrecy", "coalesce(secrecy, 0) <= user.secrecy"),
    ),
    Fault(
        "NOT (secrecy > x) is not null-safe but IS NOT TRUE is",
        "suite",
        ("should not be", "fin.yaml:22"),
        change=("fin.yaml", "secrecy <= user.secrecy", "(secrecy > user.secrecy) IS NOT TRUE"),
        relation="fin.rates",
    ),
    Fault(
        "missing grade opens",
        "check",
        ("policy.default_unused", "fin.yaml:25"),
        change=("fin.yaml", "secrecy <= user.secrecy", "secrecy <= coalesce(user.secrecy, 99)"),
    ),
    Fault(
        "NOT confidential with null",
        "check",
        ("policy.null_opens", "orders.yaml:33"),
        change=(
            "orders.yaml",
            "(confidential = false OR remark IS NULL)",
            "(confidential IS DISTINCT FROM true OR remark IS NULL)",
        ),
    ),
    Fault(
        "NULL hole in anchor",
        "suite",
        ("should not be", "depots.yaml:12"),
        change=("depots.yaml", "a.rank >= 3 AND a.valid_to", "coalesce(a.rank, 3) >= 3 AND a.valid_to"),
        relation="ops.depots",
    ),
    Fault(
        "NULL hole in anchor of team",
        "suite",
        ("should not be", "hr.yaml:9"),
        change=("hr.yaml", "AND s.org = user.org AND s.left_on IS NULL", "AND s.org = user.org"),
        relation="hr.staff",
    ),
    Fault(
        "open-ended start",
        "suite",
        ("should not be", "depots.yaml:6"),
        change=(
            "depots.yaml",
            "AND a.valid_from <= DATE '2026-01-15' AND (a.valid_to",
            "AND coalesce(a.valid_from, DATE '2000-01-01') <= DATE '2026-01-15' AND (a.valid_to",
        ),
        relation="ops.depots",
    ),
    Fault(
        "NOT IN embargo with NULLs",
        "check",
        ("policy.not_in_null", "orders.yaml:25"),
        change=("orders.yaml", "SELECT e.kunde FROM embargo AS e", "SELECT d.depot_id FROM ops.drivers AS d"),
    ),
    Fault(
        "or in night",
        "check",
        ("policy.mixed_and_or", "orders.yaml:18"),
        change=(
            "orders.yaml",
            "AND (status = 'open' OR list_contains(tags, 'priority'))",
            "AND status = 'open' OR list_contains(tags, 'priority')",
        ),
    ),
    Fault(
        "or in validity",
        "check",
        ("policy.mixed_and_or", "depots.yaml:6"),
        change=(
            "depots.yaml",
            "AND (a.valid_to IS NULL OR a.valid_to > DATE '2026-01-15'))",
            "AND a.valid_to IS NULL OR a.valid_to > DATE '2026-01-15')",
        ),
    ),
    Fault(
        "or in stops",
        "check",
        ("policy.mixed_and_or", "orders.yaml:33"),
        change=(
            "orders.yaml",
            "AND (confidential = false OR remark IS NULL)",
            "AND confidential = false OR remark IS NULL",
        ),
    ),
    Fault(
        "parentheses around the wrong pair",
        "suite",
        ("should not be", "orders.yaml:18"),
        change=(
            "orders.yaml",
            "weight >= 500 AND (status = 'open' OR list_contains(tags, 'priority'))",
            "(weight >= 500 AND status = 'open') OR list_contains(tags, 'priority')",
        ),
        relation="ops.Transport Orders",
    ),
    Fault(
        "or in anchor",
        "suite",
        ("should not be", "depots.yaml:12"),
        change=("depots.yaml", "a.rank >= 3 AND a.valid_to IS NULL", "(a.rank >= 3 OR a.valid_to IS NULL)"),
        relation="ops.depots",
    ),
    Fault(
        "role typo",
        "load",
        ("policy.unknown_role",),
        change=("kunden.yaml", "to: [accountant]\n    using: segment", "to: [acountant]\n    using: segment"),
    ),
    Fault(
        "role in other case",
        "load",
        ("policy.unknown_role",),
        change=("plain.yaml", "to: [accountant]", "to: [Accountant]"),
    ),
    Fault(
        "wrong declared role",
        "suite",
        ("should not be", "hr.yaml:6"),
        change=("hr.yaml", "to: [hr]\n    using: left_on", "to: [lead]\n    using: left_on"),
        relation="hr.staff",
    ),
    Fault(
        "restrictive only for other role",
        "suite",
        ("not visible", "orders.yaml:22"),
        change=("orders.yaml", "as: restrictive\n    to: [dispatcher]", "as: restrictive\n    to: [lead]"),
        relation="ops.Transport Orders",
    ),
    Fault(
        "to left out",
        "suite",
        ("fin.yaml:8",),
        change=("fin.yaml", "  - name: recent\n    to: [accountant]", "  - name: recent"),
        relation="fin.invoices",
    ),
    Fault(
        "iban not masked on invoices",
        "check",
        ("policy.unmasked", "fin.yaml:2"),
        change=("fin.yaml", "columns:\n  iban: {mask: \"left(iban, 2) || '***'\"}\n", ""),
    ),
    Fault(
        "iban shown to drivers",
        "check",
        ("policy.unmasked", "orders.yaml:38"),
        change=("orders.yaml", "  iban: {deny: true}\n", ""),
    ),
    Fault(
        "mask of another name",
        "check",
        ("policy.unknown_column", "orders.yaml:27"),
        change=("orders.yaml", "E-Mail: {mask", "Email: {mask"),
    ),
    Fault(
        "mask spares too many",
        "suite",
        ("masked",),
        change=("orders.yaml", "except: [dispatcher]}", "except: [dispatcher, lead]}"),
        relation="ops.drivers",
    ),
    Fault(
        "mask shows most",
        "suite",
        ("phone",),
        change=("orders.yaml", "right(phone, 2)", "right(phone, 20)"),
        relation="ops.drivers",
    ),
    Fault(
        "mask condition turned",
        "suite",
        ("salary",),
        change=(
            "hr.yaml",
            "CASE WHEN login = user.subject THEN salary END",
            "CASE WHEN login <> user.subject THEN salary END",
        ),
        relation="hr.staff",
    ),
    Fault(
        "integer list against text",
        "check",
        ("policy.type_mismatch", "fin.yaml:22"),
        change=("fin.yaml", "segment IN user.segments", "segment IN user.depots"),
    ),
    Fault(
        "date against integer",
        "check",
        ("policy.type_mismatch", "fin.yaml:9"),
        change=("fin.yaml", "due >= user.since", "due >= user.secrecy"),
    ),
    Fault(
        "boolean against text",
        "check",
        ("policy.not_a_condition", "orders.yaml:22"),
        change=("orders.yaml", "user.night OR placed", "user.org OR placed"),
    ),
    Fault(
        "attribute declared text",
        "check",
        ("policy.type_mismatch", "depots.yaml:32"),
        change=("identity.yaml", "depots: {type: integer, list: true}", "depots: {type: string, list: true}"),
    ),
    Fault(
        "date as text",
        "check",
        ("policy.type_mismatch", "fin.yaml:9"),
        change=("identity.yaml", "since: {type: date}", "since: {type: string}"),
    ),
    Fault(
        "enum label misspelled",
        "suite",
        ("visible", "orders.yaml:33"),
        change=("orders.yaml", "o.status <> 'void')", "o.status <> 'voided')"),
        relation="ops.stops",
    ),
    Fault(
        "enum label misspelled at top",
        "check",
        ("policy.always_true", "orders.yaml:6"),
        change=("orders.yaml", "AND status <> 'void'", "AND status <> 'Void'"),
    ),
    Fault(
        "new table organisation",
        "check",
        ("policy.undecided", "ops.claims"),
        tables="CREATE TABLE ops.claims (id BIGINT, org_id VARCHAR, note VARCHAR)",
    ),
    Fault(
        "new table with its own file, org_id",
        "check",
        ("policy.near_column", "plain.yaml:2"),
        add={"claims.yaml": 'relation: ops.claims\npolicies: [{name: all, to: [lead], using: "true"}]\n'},
        tables="CREATE TABLE ops.claims (id BIGINT, org_id VARCHAR)",
    ),
    Fault(
        "new schema",
        "check",
        ("policy.restrictive_only", "wall.yaml:7"),
        tables="CREATE SCHEMA arch; CREATE TABLE arch.scans (id BIGINT, org VARCHAR, note VARCHAR)",
    ),
    Fault(
        "new table in fin without note",
        "check",
        ("policy.restrictive_only", "wall.yaml:7"),
        tables="CREATE TABLE fin.taxes (id BIGINT, org VARCHAR)",
    ),
    Fault(
        "column renamed in anchor",
        "check",
        ("policy.unknown_column", "depots.yaml:12"),
        tables="ALTER TABLE ops.assignments RENAME COLUMN rank TO level",
    ),
    Fault(
        "column renamed quoted",
        "check",
        ("policy.unknown_column", "orders.yaml:14"),
        tables='ALTER TABLE ops."Transport Orders" RENAME COLUMN "Customer Ref" TO customer_ref',
    ),
    Fault(
        "table of mask column",
        "check",
        ("policy.unknown_column", "orders.yaml:44"),
        tables="ALTER TABLE ops.drivers DROP COLUMN iban",
    ),
    Fault(
        "table moved",
        "check",
        ("policy.undecided", "legal.embargo"),
        tables="DROP TABLE embargo; CREATE SCHEMA legal; CREATE TABLE legal.embargo (kunde BIGINT, reason VARCHAR)",
    ),
    Fault(
        "type changed under the policy",
        "check",
        ("policy.type_mismatch", "fin.yaml:25"),
        tables="ALTER TABLE fin.rates ALTER COLUMN secrecy TYPE VARCHAR",
    ),
    Fault(
        "anchor rank 2",
        "suite",
        ("should not be", "depots.yaml:12"),
        change=("depots.yaml", "a.rank >= 3", "a.rank >= 2"),
        relation="ops.depots",
    ),
    Fault(
        "anchor ended",
        "suite",
        ("should not be", "depots.yaml:12"),
        change=("depots.yaml", " AND a.valid_to IS NULL\n          UNION", "\n          UNION"),
        relation="ops.depots",
    ),
    Fault(
        "depth",
        "suite",
        ("should not be", "depots.yaml:12"),
        change=("depots.yaml", "b.depth < 4", "b.depth < 5"),
        relation="ops.depots",
    ),
    Fault(
        "anchor of everybody in team",
        "suite",
        ("should not be", "hr.yaml:9"),
        change=("hr.yaml", "s.login = user.subject AND s.org", "s.org"),
        relation="hr.staff",
    ),
    Fault(
        "mapping starts in the future",
        "suite",
        ("should not be", "kunden.yaml:6"),
        change=("kunden.yaml", "AND s.since <= DATE '2026-01-15'\n", "\n"),
        relation="Kunden",
    ),
    Fault(
        "mapping boundary",
        "suite",
        ("not visible", "kunden.yaml:6"),
        change=("kunden.yaml", ">= DATE '2026-01-15')", "> DATE '2026-01-15')"),
        relation="Kunden",
    ),
    Fault(
        "delegation the wrong way",
        "suite",
        ("visible", "orders.yaml:9"),
        change=(
            "orders.yaml",
            "SELECT d.from_login FROM ops.delegations AS d\n                      WHERE d.to_login",
            "SELECT d.to_login FROM ops.delegations AS d\n                      WHERE d.from_login",
        ),
        relation="ops.Transport Orders",
    ),
    Fault(
        "the wall with a door for one subject",
        "coverage",
        ("wall.yaml:7", "own_org"),
        change=("wall.yaml", "using: org = user.org", "using: org = user.org OR user.subject = 'root'"),
    ),
)
