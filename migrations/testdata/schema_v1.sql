-- application_id 0

-- index metrics_timestamp
CREATE INDEX metrics_timestamp ON metrics (timestamp_ms)

-- table metrics
CREATE TABLE metrics (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp_ms INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    value        REAL,
    tags         TEXT,            -- JSON object, in the order the writer had it
    device_id    TEXT    NOT NULL
)

-- table sqlite_sequence
CREATE TABLE sqlite_sequence(name,seq)
