-- Version 3: a daemon's own counters, so that they survive its restarts and
-- collectord can sample shipperd's like any other source.
CREATE TABLE daemon_stats (
    daemon     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    tags       TEXT    NOT NULL DEFAULT '{}',
    kind       TEXT    NOT NULL,
    value      REAL    NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (daemon, name, tags)
) WITHOUT ROWID;
