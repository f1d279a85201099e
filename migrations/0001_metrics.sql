-- Version 1: one wide table, one row per sample.
CREATE TABLE metrics (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp_ms INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    value        REAL,
    tags         TEXT,            -- JSON object, in the order the writer had it
    device_id    TEXT    NOT NULL
);
CREATE INDEX metrics_timestamp ON metrics (timestamp_ms);
