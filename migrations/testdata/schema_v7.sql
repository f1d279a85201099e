-- application_id 1113946212

-- index sqlite_autoindex_series_1
of table series

-- index sqlite_autoindex_sessions_1
of table sessions

-- index sqlite_autoindex_upload_checkpoints_1
of table upload_checkpoints

-- index upload_checkpoints_open
CREATE INDEX upload_checkpoints_open ON upload_checkpoints (first_key)
 WHERE state IN ('sending', 'accepted', 'requeued')

-- table daemon_stats
CREATE TABLE daemon_stats (
    daemon     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    tags       TEXT    NOT NULL DEFAULT '{}',
    kind       TEXT    NOT NULL,
    value      REAL    NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (daemon, name, tags)
) WITHOUT ROWID

-- table dead_letters
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
, row_key INTEGER) STRICT

-- table epochs
CREATE TABLE epochs (
    first_key          INTEGER PRIMARY KEY,      -- of its rows; it ends before the next epoch's
    boot_id            TEXT    NOT NULL,         -- '' where it is not known
    wall_offset_ms     INTEGER NOT NULL,         -- wall clock minus the key's millisecond
    wall_minus_boot_ms INTEGER NOT NULL,         -- wall clock minus CLOCK_BOOTTIME when it began
    synchronised       INTEGER,                  -- 1 the clock was synchronised in it, 0 never, NULL nobody can tell
    true_offset_ms     INTEGER,                  -- true time minus the key's millisecond; NULL not known yet; never changes
    how                TEXT CHECK (how IN ('clock', 'kernel', 'server', 'estimated', 'unconfirmed')),
    CHECK ((true_offset_ms IS NULL) = (how IS NULL))
) STRICT

-- table ledger
CREATE TABLE ledger (
    account TEXT    PRIMARY KEY,
    samples INTEGER NOT NULL
) STRICT, WITHOUT ROWID

-- table metrics
CREATE TABLE metrics (
    dedup_key  INTEGER PRIMARY KEY,           -- timestamp_ms << 22 | series id
    value      REAL,                          -- NULL for text
    value_text TEXT,
    uploaded   INTEGER NOT NULL DEFAULT 0,    -- 0 pending, 1 accepted or done, see upload_checkpoints
    session    INTEGER                        -- sessions.id of the run that inserted it
) STRICT

-- table outbox
CREATE TABLE outbox (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    low_water INTEGER NOT NULL
) STRICT

-- table series
CREATE TABLE series (
    id         INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 4194303), -- 22 bits of metrics.dedup_key
    dedup_key  BLOB    NOT NULL UNIQUE, -- SHA-256 over device, name, canonical tags, value type
    name       TEXT    NOT NULL,
    tags       TEXT    NOT NULL,        -- canonical JSON object
    device_id  TEXT    NOT NULL,
    value_type INTEGER NOT NULL         -- 0 number, 1 text
) STRICT

-- table sessions
CREATE TABLE sessions (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid       TEXT    NOT NULL UNIQUE,
    daemon     TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    boot_id    TEXT    NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms   INTEGER,                    -- NULL: running, or killed
    clean      INTEGER NOT NULL DEFAULT 0  -- 1: stopped in order
)

-- table sqlite_sequence
CREATE TABLE sqlite_sequence(name,seq)

-- table upload_checkpoints
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
) STRICT

-- view metric_rows
CREATE VIEW metric_rows AS
SELECT s.device_id, (m.dedup_key >> 22) + coalesce(e.true_offset_ms, e.wall_offset_ms, 0) AS timestamp_ms,
       s.name, s.tags, m.value, m.value_text, s.value_type, m.uploaded, r.uuid AS session_id,
       (m.dedup_key >> 22) + coalesce(e.wall_offset_ms, 0) AS raw_timestamp_ms,
       coalesce(e.how, iif(e.first_key IS NULL, 'unconfirmed', 'unknown')) AS time_from
  FROM metrics m
  JOIN series s ON s.id = m.dedup_key & 4194303
  LEFT JOIN epochs e ON e.first_key = (SELECT max(first_key) FROM epochs WHERE first_key <= m.dedup_key)
  LEFT JOIN sessions r ON r.id = m.session
