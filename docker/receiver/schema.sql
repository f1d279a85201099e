-- The tables of the receiver's file, version 1.

-- One row for each series. metric is the canonical JSON object of its labels and so its identity; name and device_id
-- repeat the two labels that readers look up by ('' where the series has none). AUTOINCREMENT, because an id must not
-- come back: an export that runs while a series is removed would show the samples of another one under its name.
CREATE TABLE series (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    metric    TEXT NOT NULL UNIQUE,
    name      TEXT NOT NULL,
    device_id TEXT NOT NULL
) STRICT;
CREATE INDEX series_by_name ON series (name);
CREATE INDEX series_by_device ON series (device_id);

-- One row for each sample, stored in the order in which it is exported: one b-tree, no second index.
CREATE TABLE samples (
    series_id    INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    value        REAL NOT NULL,
    PRIMARY KEY (series_id, timestamp_ms)
) STRICT, WITHOUT ROWID;
