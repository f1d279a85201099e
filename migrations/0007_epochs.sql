-- Version 7: file time and clock epochs. The millisecond of a key only moves forward; an
-- epoch says what it means (docs/decisions/0009-true-time.md).
CREATE TABLE epochs (
    first_key          INTEGER PRIMARY KEY,      -- of its rows; it ends before the next epoch's
    boot_id            TEXT    NOT NULL,         -- '' where it is not known
    wall_offset_ms     INTEGER NOT NULL,         -- wall clock minus the key's millisecond
    wall_minus_boot_ms INTEGER NOT NULL,         -- wall clock minus CLOCK_BOOTTIME when it began
    synchronised       INTEGER,                  -- 1 the clock was synchronised in it, 0 never, NULL nobody can tell
    true_offset_ms     INTEGER,                  -- true time minus the key's millisecond; NULL not known yet; never changes
    how                TEXT CHECK (how IN ('clock', 'kernel', 'server', 'estimated', 'unconfirmed')),
    CHECK ((true_offset_ms IS NULL) = (how IS NULL))
) STRICT;
INSERT INTO epochs VALUES (0, '', 0, 0, NULL, 0, 'unconfirmed');

-- The place to put the row back to; NULL in older letters, whose time is their place.
ALTER TABLE dead_letters ADD COLUMN row_key INTEGER;

DROP VIEW metric_rows;
CREATE VIEW metric_rows AS
SELECT s.device_id, (m.dedup_key >> 22) + coalesce(e.true_offset_ms, e.wall_offset_ms, 0) AS timestamp_ms,
       s.name, s.tags, m.value, m.value_text, s.value_type, m.uploaded, r.uuid AS session_id,
       (m.dedup_key >> 22) + coalesce(e.wall_offset_ms, 0) AS raw_timestamp_ms,
       coalesce(e.how, iif(e.first_key IS NULL, 'unconfirmed', 'unknown')) AS time_from
  FROM metrics m
  JOIN series s ON s.id = m.dedup_key & 4194303
  LEFT JOIN epochs e ON e.first_key = (SELECT max(first_key) FROM epochs WHERE first_key <= m.dedup_key)
  LEFT JOIN sessions r ON r.id = m.session;
