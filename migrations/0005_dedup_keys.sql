-- Version 5: every key made anew over canonical tags and the value type. Rows
-- that differed only in the order of their tags now collide: as in version 2 the
-- first keeps the plain key. Going by way of NULL keeps the unique index
-- satisfied while keys change places.
UPDATE metrics SET dedup_key = NULL;
DROP INDEX metrics_dedup_key;
UPDATE metrics SET dedup_key = bx_dedup_key_v5(device_id, name, tags, timestamp_ms, value_type);
UPDATE metrics SET dedup_key = dedup_key || '#' || id
 WHERE id NOT IN (SELECT min(id) FROM metrics GROUP BY dedup_key);
CREATE UNIQUE INDEX metrics_dedup_key ON metrics (dedup_key);
