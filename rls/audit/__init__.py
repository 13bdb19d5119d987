"""Who asked what, what was decided and why, what was handed out: kept before it is handed out, and provable later.

Attempt → `record` → sink. A log (`AuditLog`) keeps records as lines of a hash chain per writer, each batch signed where
a key is configured (audit.yaml in the policy directory), and beside it the policies and the catalog of every version.

Acknowledged. `write` returns, and with it the result, once the record is on the disk (`durability: disk`; `process`
survives the end of the process but not a loss of power). Threads that write at once share a write and a sync. Of a
process that is killed at most records are lost that nobody was told of.

What `verify_log` shows. With the signing key out of an attacker's reach: every line that was changed, dropped, moved,
repeated or added, wherever it stands, and every file that is missing though anything refers to it. Without a key:
accidents, and changes by those who do not hash again.

What it cannot show by itself: that the very end is gone. Whoever deletes the last lines of a chain leaves what a killed
process leaves, a chain without its last word: a warning. It becomes an error where something knows better: another
writer's line (each names the ends of the others when it begins, and every 1,000 records or 60 seconds), an anchor
(`anchor:` in audit.yaml, on another machine or append-only; `rls audit verify --heads` for one by hand), an audit id
that a caller holds (`--expect`). Whoever takes all of these, or the signing key with the host, can rewrite what is
later than the last anchor; nobody can rewrite what an anchor out of reach knows.

What a record never holds: an attribute's value, a bound value, a row's. Hashes of the first two are keyed; keep the key
as you keep the tokens' secrets, because small domains can be guessed by who has it. Without it, who may read all
records and send queries can find out whether somebody sent exactly a certain text, and nothing of values. The caller's
text holds the literals that the caller wrote, unless audit.yaml says `sql: shape` or `sql: none`.
"""
