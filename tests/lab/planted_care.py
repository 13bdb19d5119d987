"""A second policy set, in other shapes: mapping tables, a hierarchy, sub-queries, lists, a view, names in any case.

Takes nothing; gives the set of a group of clinics as files and tables, and the mistakes that were planted in it. Each
says which tool finds it and which words, the place to mend among them, the reader is shown.
"""

from __future__ import annotations

from tests.lab.planted import Fault

__all__ = ["FAULTS", "FILES", "TABLES"]

TABLES = """
CREATE TABLE "Sites" (site_id INTEGER PRIMARY KEY, parent_id INTEGER, tenant VARCHAR NOT NULL, title VARCHAR);
CREATE TABLE site_access (user_id VARCHAR NOT NULL, site_id INTEGER NOT NULL, level INTEGER, ends DATE);
CREATE TABLE teams (team_id INTEGER PRIMARY KEY, tenant VARCHAR NOT NULL, lead VARCHAR);
CREATE TABLE team_members (team_id INTEGER NOT NULL, user_id VARCHAR NOT NULL, active BOOLEAN);
CREATE TABLE "Patients" (id BIGINT PRIMARY KEY, "Tenant" VARCHAR NOT NULL, site_id INTEGER, tags VARCHAR[],
    consent BOOLEAN, email VARCHAR, born DATE);
CREATE TABLE visits (id BIGINT PRIMARY KEY, patient_id BIGINT, tenant VARCHAR NOT NULL, team_id INTEGER, kind VARCHAR,
    sensitivity INTEGER, email VARCHAR);
CREATE TABLE notes (visit_id BIGINT, author VARCHAR, body VARCHAR, private BOOLEAN);
CREATE TABLE locked (patient_id BIGINT, team_id INTEGER);
CREATE TABLE charges (id BIGINT PRIMARY KEY, tenant VARCHAR NOT NULL, visit_id BIGINT, amount DECIMAL(9,2),
    status VARCHAR, due DATE, email VARCHAR);
CREATE TABLE programs (code VARCHAR PRIMARY KEY, title VARCHAR);
CREATE VIEW open_charges AS SELECT id, tenant, amount FROM charges WHERE status = 'open';
"""

IDENTITY = """
issuers:
  - name: https://app.example
    audiences: [app]
    algorithms: [HS256]
    keys: [{kid: app-1, secret: {env: A_SECRET_THAT_IS_NOT_HERE}}]
roles: [nurse, doctor, clerk, head]
attributes:
  tenant: {type: string, required: true}
  programs: {type: string, list: true}
  clearance: {type: integer}
"""
FILES = {
    "identity.yaml": IDENTITY,
    "personas.yaml": """
personas:
  eve: {subject: u-1, roles: [nurse], attributes: {tenant: north, programs: [heart], clearance: 1}}
  max: {subject: u-2, roles: [doctor], attributes: {tenant: south, programs: [heart, sleep], clearance: 3}}
  ada: {subject: u-3, roles: [clerk], attributes: {tenant: north}}
  bo: {subject: u-4, roles: [head], attributes: {tenant: south, clearance: 2}}
""",
    "tenancy.yaml": """
relations: {with_columns: [TENANT]}
policies:
  - name: own_tenant
    as: restrictive
    using: tenant = user.tenant
""",
    "sites.yaml": """
relation: sites
policies:
  - name: whole_tenant
    to: [nurse, doctor, clerk]
    using: "true"
  - name: own_and_below
    to: [head]
    using: >-
      site_id IN (WITH RECURSIVE below AS (
        SELECT a.site_id FROM site_access AS a WHERE a.user_id = user.subject AND a.level >= 2
        UNION
        SELECT s.site_id FROM sites AS s JOIN below AS b ON s.parent_id = b.site_id
      ) SELECT site_id FROM below)
---
relation: site_access
policies:
  - {name: own_access, using: user_id = user.subject}
---
relation: teams
policies:
  - {name: whole_tenant, to: [nurse, doctor, head], using: "true"}
---
relation: team_members
policies:
  - name: of_own_tenant
    to: [nurse, doctor, head]
    using: team_id IN (SELECT t.team_id FROM teams AS t WHERE t.tenant = user.tenant)
---
relation: programs
public: true
""",
    "patients.yaml": """
relation: patients
policies:
  - name: at_own_sites
    to: [nurse]
    using: >-
      site_id IN (SELECT a.site_id FROM site_access AS a
                  WHERE a.user_id = user.subject AND (a.ends IS NULL OR a.ends >= DATE '2026-01-01'))
  - name: in_own_programs
    to: [doctor]
    using: list_has_any(tags, user.programs) AND consent
  - name: not_locked
    as: restrictive
    to: [nurse, doctor]
    using: NOT EXISTS (SELECT 1 FROM locked AS l WHERE l.patient_id = patients.id)
columns:
  EMAIL: {mask: "'***'", except: [doctor]}
---
relation: locked
policies:
  - {name: heads, to: [head], using: patient_id > 0}
""",
    "visits.yaml": """
relation: visits
policies:
  - name: of_own_team
    to: [nurse, doctor]
    using: >-
      EXISTS (SELECT 1 FROM team_members AS m JOIN teams AS t ON t.team_id = m.team_id
              WHERE m.user_id = user.subject AND m.active AND t.tenant = user.tenant AND t.team_id = visits.team_id)
  - name: led
    to: [head]
    using: team_id IN (SELECT team_id FROM teams WHERE lead = user.subject)
  - name: cleared
    as: restrictive
    using: sensitivity <= user.clearance
columns:
  email: {mask: "'***'", except: [doctor]}
---
relation: notes
policies:
  - name: with_visit
    to: [nurse, doctor]
    using: >-
      visit_id IN (SELECT v.id FROM visits AS v JOIN team_members AS m ON m.team_id = v.team_id
                   WHERE v.tenant = user.tenant AND m.user_id = user.subject AND m.active)
      AND (NOT private OR author = user.subject)
""",
    "charges.yaml": """
relation: charges
policies:
  - name: billed
    to: [clerk]
    using: status NOT IN ('draft', 'void') AND amount > 0
  - name: of_led_teams
    to: [head]
    using: >-
      visit_id NOT IN (SELECT v.id FROM visits AS v WHERE v.kind = 'test')
      AND (status = 'open' OR due < DATE '2026-01-01')
columns:
  email: {mask: "'***'", except: [clerk]}
""",
}

AT = "(SELECT a.site_id FROM site_access AS a\n                  WHERE a.user_id = user.subject AND (a.ends IS NULL OR a.ends >= DATE '2026-01-01'))"
NO_WALL = (
    "tenancy.yaml",
    "relations: {with_columns: [TENANT]}",
    "relations: {with_columns: [TENANT], except: [charges]}",
)

FAULTS: tuple[Fault, ...] = (
    # Always true branches.
    Fault(
        "a column of the inner tables where the row's was meant",
        "check",
        ("ambiguous", "`team_id`", "m.team_id", "visits.yaml:6"),
        ("visits.yaml", "AND t.team_id = visits.team_id", "AND t.team_id = team_id"),
    ),
    Fault(
        "a sub-query whose condition is always true",
        "check",
        ("policy.always_true", "m.user_id = m.user_id", "visits.yaml"),
        (
            "visits.yaml",
            "WHERE m.user_id = user.subject AND m.active AND t.tenant",
            "WHERE m.user_id = m.user_id AND m.active AND t.tenant",
        ),
    ),
    Fault(
        "a branch that every list meets",
        "coverage",
        ("in_own_programs", "FALSE", "patients.yaml:11"),
        (
            "patients.yaml",
            "list_has_any(tags, user.programs) AND consent",
            "list_has_any(tags, user.programs) OR len(user.programs) >= 0",
        ),
    ),
    Fault(
        "IN a column of the same table",
        "coverage",
        ("own_and_below", "sites.yaml"),
        (
            "sites.yaml",
            "SELECT a.site_id FROM site_access AS a WHERE a.user_id = user.subject AND a.level >= 2",
            "SELECT a.site_id FROM sites AS a",
        ),
    ),
    # Missing tenant filters.
    Fault(
        "tenant filter missing on one table",
        "check",
        ("policy.no_wall", "`charges`", "charges.yaml:6"),
        NO_WALL,
    ),
    Fault(
        "tenant filter missing on one table, met by two tenants",
        "seed",
        ("two tenants: charges", "billed", "charges.yaml:6"),
        NO_WALL,
    ),
    Fault(
        "tenant filter missing inside a sub-query",
        "prove",
        ("no two principals with different user.tenant", "of_own_tenant"),
        ("sites.yaml", "AS t WHERE t.tenant = user.tenant)", "AS t)"),
        relation="team_members",
    ),
    Fault(
        "tenant filter missing inside a sub-query, seen by the suite",
        "suite",
        ("should not be", "of_own_tenant", "sites.yaml:28"),
        ("sites.yaml", "AS t WHERE t.tenant = user.tenant)", "AS t)"),
        relation="team_members",
    ),
    # NULL holes.
    Fault(
        "NOT IN a sub-query with NULLs",
        "check",
        ("policy.not_in_null", "locked", "patients.yaml"),
        (
            "patients.yaml",
            "NOT EXISTS (SELECT 1 FROM locked AS l WHERE l.patient_id = patients.id)",
            "id NOT IN (SELECT l.patient_id FROM locked AS l)",
        ),
    ),
    Fault(
        "IS DISTINCT FROM lets rows without a value through",
        "check",
        ("policy.null_opens", "status", "charges.yaml"),
        ("charges.yaml", "status NOT IN ('draft', 'void') AND", "status IS DISTINCT FROM 'draft' AND"),
    ),
    Fault(
        "no consent is consent",
        "check",
        ("policy.null_opens", "consent", "patients.yaml"),
        ("patients.yaml", "AND consent", "AND consent IS NOT FALSE"),
    ),
    Fault(
        "CASE with a row's missing value",
        "suite",
        ("should not be", "sensitivity NULL", "visits.yaml"),
        (
            "visits.yaml",
            "using: sensitivity <= user.clearance",
            "using: CASE WHEN sensitivity > user.clearance THEN FALSE ELSE TRUE END",
        ),
        relation="visits",
    ),
    # OR without parentheses.
    Fault(
        "OR beside AND inside a sub-query",
        "check",
        ("policy.mixed_and_or", "at_own_sites", "patients.yaml:6"),
        (
            "patients.yaml",
            "AND (a.ends IS NULL OR a.ends >= DATE '2026-01-01'))",
            "AND a.ends IS NULL OR a.ends >= DATE '2026-01-01')",
        ),
    ),
    Fault(
        "OR beside AND in a join's condition",
        "check",
        ("policy.mixed_and_or", "visits.yaml"),
        (
            "visits.yaml",
            "ON t.team_id = m.team_id\n",
            "ON t.team_id = m.team_id AND m.active OR t.lead = user.subject\n",
        ),
    ),
    Fault(
        "OR beside AND in a hierarchy",
        "check",
        ("policy.mixed_and_or", "sites.yaml"),
        (
            "sites.yaml",
            "a.user_id = user.subject AND a.level >= 2",
            "a.user_id = user.subject AND a.level >= 2 OR a.ends IS NULL",
        ),
    ),
    Fault(
        "parentheses around the wrong pair",
        "suite",
        ("of_led_teams", "charges.yaml"),
        (
            "charges.yaml",
            "WHERE v.kind = 'test')\n      AND (status = 'open' OR due < DATE '2026-01-01')",
            "WHERE v.kind = 'test')\n      AND (status = 'open') OR (due < DATE '2026-01-01')",
        ),
        relation="charges",
    ),
    # Roles.
    Fault(
        "role typo",
        "load",
        ("policy.unknown_role", "docter", "visits.yaml:5"),
        (
            "visits.yaml",
            "to: [nurse, doctor]\n    using: >-\n      EXISTS",
            "to: [nurse, docter]\n    using: >-\n      EXISTS",
        ),
    ),
    Fault(
        "role typo in who is spared a mask",
        "load",
        ("policy.unknown_role", "docter", "patients.yaml"),
        ("patients.yaml", "except: [doctor]", "except: [docter]"),
    ),
    Fault(
        "another role's policy",
        "suite",
        ("in_own_programs", "patients.yaml"),
        ("patients.yaml", "to: [doctor]\n    using: list", "to: [doctor, clerk]\n    using: list"),
        relation="patients",
    ),
    Fault(
        "the wall with a door for one role",
        "prove",
        ("no two principals with different user.tenant", "head", "charges.yaml:9"),
        ("tenancy.yaml", "as: restrictive\n", "as: restrictive\n    to: [nurse, doctor, clerk]\n"),
        relation="charges",
    ),
    Fault(
        "a restrictive policy that leaves a role out",
        "suite",
        ("should not be", "patients"),
        ("patients.yaml", "as: restrictive\n    to: [nurse, doctor]", "as: restrictive\n    to: [nurse]"),
        relation="patients",
    ),
    # Masks.
    Fault(
        "mask forgotten on a table",
        "check",
        ("policy.unmasked", "`email`", "charges.yaml:2"),
        ("charges.yaml", "columns:\n  email: {mask: \"'***'\", except: [clerk]}\n", ""),
    ),
    Fault(
        "mask that spares a role too many",
        "suite",
        ("masked", "email"),
        ("patients.yaml", "except: [doctor]", "except: [doctor, nurse]"),
        relation="patients",
    ),
    Fault(
        "mask that shows the value",
        "suite",
        ("email",),
        ("visits.yaml", "mask: \"'***'\"", 'mask: "lower(email)"'),
        relation="visits",
    ),
    # Types of attributes.
    Fault(
        "a number compared with a text, in a sub-query",
        "check",
        ("policy.type_mismatch", "sites.yaml"),
        ("sites.yaml", "a.level >= 2", "a.level >= user.tenant"),
    ),
    Fault(
        "a list where one value is, in a sub-query",
        "load",
        ("policy.list_attribute", "sites.yaml"),
        ("sites.yaml", "t.tenant = user.tenant)", "t.tenant = user.programs)"),
    ),
    Fault(
        "a list column compared with a text",
        "check",
        ("policy.type_mismatch", "patients.yaml"),
        ("patients.yaml", "list_has_any(tags, user.programs)", "tags = user.tenant"),
    ),
    Fault(
        "an attribute declared as text",
        "check",
        ("policy.type_mismatch", "visits.yaml"),
        add={
            "identity.yaml": IDENTITY.replace("clearance: {type: integer}", "clearance: {type: string}"),
            "personas.yaml": "",
        },
    ),
    # Patterns and new tables.
    Fault(
        "a new table that the pattern misses",
        "check",
        ("policy.undecided", "`referrals`"),
        tables='CREATE TABLE referrals (id BIGINT, "tenant id" VARCHAR)',
    ),
    Fault(
        "a new table, its column called otherwise, open to a role",
        "check",
        ("policy.near_column", "`referrals`", "tenancy.yaml:2"),
        add={"referrals.yaml": 'relation: referrals\npolicies: [{name: all, to: [head], using: "true"}]\n'},
        tables="CREATE TABLE referrals (id BIGINT, tenants VARCHAR)",
    ),
    Fault(
        "a new table in another schema",
        "check",
        ("policy.undecided", "archive.visits"),
        tables="CREATE SCHEMA archive; CREATE TABLE archive.visits (id BIGINT, owner VARCHAR)",
    ),
    # What is stale.
    Fault(
        "stale column inside a sub-query",
        "check",
        ("policy.unknown_column", "visits.yaml"),
        tables="ALTER TABLE team_members RENAME COLUMN active TO enabled",
    ),
    Fault(
        "stale column in a hierarchy",
        "check",
        ("policy.unknown_column", "parent_id", "sites.yaml"),
        tables='ALTER TABLE "Sites" RENAME COLUMN parent_id TO above',
    ),
    Fault(
        "stale table inside a sub-query",
        "check",
        ("policy.unknown_relation", "site_access", "patients.yaml"),
        tables="ALTER TABLE site_access RENAME TO access_to_sites",
    ),
    # Sub-queries and hierarchies that say something else.
    Fault(
        "the hierarchy the other way up",
        "suite",
        ("own_and_below", "sites.yaml"),
        ("sites.yaml", "ON s.parent_id = b.site_id", "ON s.site_id = b.site_id"),
        relation="sites",
    ),
    Fault(
        "the hierarchy walked upwards",
        "suite",
        ("own_and_below", "sites.yaml"),
        (
            "sites.yaml",
            "SELECT s.site_id FROM sites AS s JOIN below AS b ON s.parent_id = b.site_id",
            "SELECT s.parent_id FROM sites AS s JOIN below AS b ON s.site_id = b.site_id",
        ),
        relation="sites",
    ),
    Fault(
        "the hierarchy starts at everybody's sites",
        "suite",
        ("own_and_below", "sites.yaml"),
        ("sites.yaml", "a.user_id = user.subject AND a.level >= 2", "a.level >= 2"),
        relation="sites",
    ),
    Fault(
        "the hierarchy starts one level too low",
        "suite",
        ("should not be", "own_and_below", "sites.yaml"),
        ("sites.yaml", "a.level >= 2", "a.level >= 1"),
        relation="sites",
    ),
    Fault(
        "a NULL hole in the hierarchy's start",
        "suite",
        ("should not be", "own_and_below", "sites.yaml"),
        ("sites.yaml", "a.level >= 2", "coalesce(a.level, 2) >= 2"),
        relation="sites",
    ),
    Fault(
        "an ended membership still counts",
        "suite",
        ("of_own_team", "visits.yaml"),
        ("visits.yaml", " AND m.active AND t.tenant", " AND t.tenant"),
        relation="visits",
    ),
    Fault(
        "the wrong column of a mapping table",
        "check",
        ("policy.odd_key", "visits.yaml"),
        ("visits.yaml", "team_id IN (SELECT team_id FROM teams", "patient_id IN (SELECT team_id FROM teams"),
    ),
    Fault(
        "joined on the wrong key",
        "suite",
        ("with_visit", "visits.yaml"),
        ("visits.yaml", "ON m.team_id = v.team_id", "ON m.team_id = v.id"),
        relation="notes",
    ),
    Fault(
        "EXISTS where NOT EXISTS was meant",
        "suite",
        ("not_locked", "patients.yaml"),
        ("patients.yaml", "using: NOT EXISTS", "using: EXISTS"),
        relation="patients",
    ),
    Fault(
        "NOT around too little",
        "suite",
        ("with_visit", "visits.yaml"),
        ("visits.yaml", "AND (NOT private OR author = user.subject)", "AND NOT (private OR author = user.subject)"),
        relation="notes",
    ),
    Fault(
        "any of a list where all are meant",
        "suite",
        ("in_own_programs", "patients.yaml"),
        ("patients.yaml", "list_has_any(tags, user.programs)", "list_has_all(tags, user.programs)"),
        relation="patients",
    ),
    Fault(
        "a date on the boundary, in a sub-query",
        "suite",
        ("at_own_sites", "patients.yaml"),
        ("patients.yaml", "a.ends >= DATE", "a.ends > DATE"),
        relation="patients",
    ),
    Fault(
        "an item left out of a list",
        "suite",
        ("billed", "charges.yaml"),
        ("charges.yaml", "('draft', 'void')", "('draft')"),
        relation="charges",
    ),
    Fault(
        "a suite without anybody who is locked",
        "mutate",
        ("not_locked", "patients.yaml"),
        add={
            "thin.test.yaml": """
data:
  sites: {columns: {site_id: INTEGER, tenant: VARCHAR}, rows: [[1, north]]}
  site_access: {columns: {user_id: VARCHAR, site_id: INTEGER, level: INTEGER, ends: DATE}, rows: [[u-1, 1, 2, null]]}
  locked: {columns: {patient_id: BIGINT}, rows: []}
  patients:
    columns: {id: BIGINT, tenant: VARCHAR, site_id: INTEGER, tags: "VARCHAR[]", consent: BOOLEAN, email: VARCHAR}
    rows: [[1, north, 1, [heart], true, a@b.test], [2, north, 2, [heart], true, a@b.test]]
only: {personas: [eve], relations: [patients]}
sees: {eve: {patients: {keys: [1], masked: [email]}}}
"""
        },
    ),
)
