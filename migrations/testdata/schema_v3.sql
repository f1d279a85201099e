-- application_id 0

-- index metrics_dedup_key
CREATE UNIQUE INDEX metrics_dedup_key ON metrics (dedup_key)

-- index metrics_pending
CREATE INDEX metrics_pending ON metrics (timestamp_ms, id) WHERE uploaded = 0

-- index metrics_timestamp
CREATE INDEX metrics_timestamp ON metrics (timestamp_ms)

-- index sqlite_autoindex_upload_checkpoints_1
of table upload_checkpoints

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

-- table metrics
CREATE TABLE metrics (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp_ms INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    value        REAL,
    tags         TEXT,            -- JSON object, in the order the writer had it
    device_id    TEXT    NOT NULL
, uploaded INTEGER NOT NULL DEFAULT 0, dedup_key TEXT)

-- table sqlite_sequence
CREATE TABLE sqlite_sequence(name,seq)

-- table upload_checkpoints
CREATE TABLE upload_checkpoints (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id     TEXT    NOT NULL,
    chunk_index  INTEGER NOT NULL,
    status       TEXT    NOT NULL,
    metric_count INTEGER NOT NULL,
    http_status  INTEGER,
    created_ms   INTEGER NOT NULL,
    UNIQUE (batch_id, chunk_index)
)
