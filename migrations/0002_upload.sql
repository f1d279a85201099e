-- Version 2: rows know whether they were uploaded, and a key forbids storing a
-- sample twice. Version 1 had no such key, so a file may hold real doubles: the
-- first keeps the plain key, the others get their row id behind it and stay.
ALTER TABLE metrics ADD COLUMN uploaded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE metrics ADD COLUMN dedup_key TEXT;
UPDATE metrics SET dedup_key = bx_dedup_key_v2(device_id, name, tags, timestamp_ms);
UPDATE metrics SET dedup_key = dedup_key || '#' || id
 WHERE id NOT IN (SELECT min(id) FROM metrics GROUP BY dedup_key);
CREATE UNIQUE INDEX metrics_dedup_key ON metrics (dedup_key);
CREATE INDEX metrics_pending ON metrics (timestamp_ms, id) WHERE uploaded = 0;

CREATE TABLE upload_checkpoints (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id     TEXT    NOT NULL,
    chunk_index  INTEGER NOT NULL,
    status       TEXT    NOT NULL,
    metric_count INTEGER NOT NULL,
    http_status  INTEGER,
    created_ms   INTEGER NOT NULL,
    UNIQUE (batch_id, chunk_index)
);
