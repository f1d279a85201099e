-- Version 6: the compact layout. A random SHA-256 index on every row is what
-- wears an SD card out, so the identity moves to a table of series and a row's
-- key becomes (millisecond, series): one b-tree that only grows at its end.
-- docs/decisions/0002-compact-layout.md has the figures.
PRAGMA application_id = 1113946212; -- "Bexd": other programs' files are refused

CREATE TABLE series (
    id         INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 4194303), -- 22 bits of metrics.dedup_key
    dedup_key  BLOB    NOT NULL UNIQUE, -- SHA-256 over device, name, canonical tags, value type
    name       TEXT    NOT NULL,
    tags       TEXT    NOT NULL,        -- canonical JSON object
    device_id  TEXT    NOT NULL,
    value_type INTEGER NOT NULL         -- 0 number, 1 text
) STRICT;

-- Samples that can never be delivered. Nothing refers to other tables, so that a
-- letter outlives the series and the chunk it came from.
CREATE TABLE dead_letters (
    id           INTEGER PRIMARY KEY,
    device_id    TEXT    NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    tags         TEXT    NOT NULL,
    value        REAL,
    value_text   TEXT,
    value_type   INTEGER NOT NULL,
    reason       TEXT    NOT NULL,            -- a short fixed word
    detail       TEXT    NOT NULL DEFAULT '', -- the server's words, or ours
    created_ms   INTEGER NOT NULL
) STRICT;

ALTER TABLE metrics RENAME TO metrics_v5;

CREATE TABLE metrics (
    dedup_key  INTEGER PRIMARY KEY,           -- timestamp_ms << 22 | series id
    value      REAL,                          -- NULL for text
    value_text TEXT,
    uploaded   INTEGER NOT NULL DEFAULT 0,    -- 0 pending, 1 accepted or done, see upload_checkpoints
    session    INTEGER                        -- sessions.id of the run that inserted it
) STRICT;

-- Old columns were not strict: they may hold anything anywhere. A key takes whole
-- milliseconds between 1970 and 2039 only.
CREATE TABLE v5_rows (id INTEGER PRIMARY KEY, series_key BLOB NOT NULL, uploaded INTEGER NOT NULL);
INSERT INTO v5_rows
SELECT id, bx_series_key(device_id, name, tags, value_type = 1), uploaded <> 0
  FROM metrics_v5
 WHERE typeof(timestamp_ms) = 'integer' AND timestamp_ms BETWEEN 0 AND 2199023255551;

INSERT INTO series (dedup_key, name, tags, device_id, value_type)
SELECT r.series_key, CAST(m.name AS TEXT), bx_canonical_tags(m.tags), CAST(m.device_id AS TEXT), m.value_type = 1
  FROM (SELECT series_key, min(id) AS id FROM v5_rows GROUP BY series_key) r
  JOIN metrics_v5 m USING (id)
 ORDER BY r.id;

-- Where an old file holds a sample twice, the copy that was uploaded is the one
-- the server knows; the others become dead letters.
DELETE FROM v5_rows WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY timestamp_ms, series_key ORDER BY r.uploaded DESC, id) AS copy
          FROM v5_rows r JOIN metrics_v5 m USING (id))
     WHERE copy > 1);

-- What is no number in a number's place is kept as text.
INSERT INTO metrics (dedup_key, value, value_text, uploaded)
SELECT m.timestamp_ms << 22 | s.id,
       iif(typeof(m.value) = 'real', m.value, NULL),
       CAST(coalesce(m.value_text, iif(typeof(m.value) <> 'real', m.value, NULL)) AS TEXT),
       r.uploaded
  FROM v5_rows r
  JOIN metrics_v5 m USING (id)
  JOIN series s ON s.dedup_key = r.series_key
 ORDER BY m.timestamp_ms, s.id;

INSERT INTO dead_letters (device_id, timestamp_ms, name, tags, value, value_text, value_type, reason, detail, created_ms)
SELECT CAST(device_id AS TEXT), CAST(timestamp_ms AS INTEGER), CAST(name AS TEXT), bx_canonical_tags(tags),
       iif(typeof(value) = 'real', value, NULL),
       CAST(coalesce(value_text, iif(typeof(value) <> 'real', value, NULL)) AS TEXT),
       value_type = 1,
       iif(keyed, 'duplicate', 'timestamp_range'),
       iif(keyed, 'upgrade to schema 6: another row has the same device, name, tags and millisecond',
                  'upgrade to schema 6: the timestamp ' || timestamp_ms || ' is no millisecond between 1970 and 2039'),
       CAST(unixepoch('subsec') * 1000 AS INTEGER)
  FROM (SELECT *, typeof(timestamp_ms) = 'integer' AND timestamp_ms BETWEEN 0 AND 2199023255551 AS keyed FROM metrics_v5)
 WHERE id NOT IN (SELECT id FROM v5_rows)
 ORDER BY id;

DROP TABLE v5_rows;
DROP TABLE metrics_v5;

-- One row per chunk that left, or is about to leave. The chunks of older files
-- named no rows, so nothing can be concluded from them.
--   sending   written and synced before the first byte leaves: after a crash the
--             server must be asked what it has
--   accepted  answered 2xx, its rows have uploaded = 1; not yet read back
--   requeued  read back and missing: the rows left in row_keys are owed again,
--             as this chunk
--   verified  read back and found, all of row_keys
--   rejected  nothing of it could be delivered
DROP TABLE upload_checkpoints;
CREATE TABLE upload_checkpoints (
    id           INTEGER PRIMARY KEY,
    batch_id     TEXT    NOT NULL,
    chunk_index  INTEGER NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('sending', 'accepted', 'requeued', 'verified', 'rejected')),
    first_key    INTEGER NOT NULL,            -- least and greatest metrics.dedup_key in it
    last_key     INTEGER NOT NULL,
    row_keys     BLOB    NOT NULL,            -- all of them: ascending, differences as varints
    sample_count INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,            -- compressed
    content_hash BLOB    NOT NULL,            -- SHA-256 of the uncompressed lines
    attempts     INTEGER NOT NULL DEFAULT 0,
    resends      INTEGER NOT NULL DEFAULT 0,  -- times its rows were found missing
    http_status  INTEGER,                     -- of the last attempt that got an answer
    error        TEXT,                        -- of the last attempt
    created_ms   INTEGER NOT NULL,            -- what timestamps are clamped against
    attempted_ms INTEGER,                     -- when the last attempt ended
    accepted_ms  INTEGER,
    settled_ms   INTEGER,                     -- when it became verified, requeued or rejected
    UNIQUE (batch_id, chunk_index)
) STRICT;
CREATE INDEX upload_checkpoints_open ON upload_checkpoints (first_key)
 WHERE state IN ('sending', 'accepted', 'requeued');

-- Every row below low_water is done: where the search for pending rows starts.
-- The inserter lowers it when the clock went back.
CREATE TABLE outbox (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    low_water INTEGER NOT NULL
) STRICT;
INSERT INTO outbox VALUES (1, coalesce((SELECT min(dedup_key) FROM metrics WHERE uploaded = 0), 0));

-- What became of samples that are no longer rows of metrics, and how many there
-- ever were: the accounts must add up (docs/architecture.md, "The ledger").
CREATE TABLE ledger (
    account TEXT    PRIMARY KEY,
    samples INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO ledger VALUES
    ('inserted', (SELECT count(*) FROM metrics) + (SELECT count(*) FROM dead_letters)),
    ('inserted_through', coalesce((SELECT max(dedup_key) | 4194303 FROM metrics), 0)); -- a key, not a count

CREATE VIEW metric_rows AS
SELECT s.device_id, m.dedup_key >> 22 AS timestamp_ms, s.name, s.tags, m.value, m.value_text, s.value_type,
       m.uploaded, r.uuid AS session_id
  FROM metrics m
  JOIN series s ON s.id = m.dedup_key & 4194303
  LEFT JOIN sessions r ON r.id = m.session;
