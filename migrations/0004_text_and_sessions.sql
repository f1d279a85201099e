-- Version 4: text values (value_type 1), and one row for each run of a daemon.
ALTER TABLE metrics ADD COLUMN value_text TEXT;
ALTER TABLE metrics ADD COLUMN value_type INTEGER NOT NULL DEFAULT 0;

CREATE TABLE sessions (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid       TEXT    NOT NULL UNIQUE,
    daemon     TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    boot_id    TEXT    NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms   INTEGER,                    -- NULL: running, or killed
    clean      INTEGER NOT NULL DEFAULT 0  -- 1: stopped in order
);
