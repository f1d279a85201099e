-- Version 2: what was answered to the chunks that were taken last, so that one that comes again is answered as before. The
-- rows are written in the transaction of their samples. id grows; the oldest go when there are too many.
CREATE TABLE chunks (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL, -- who sent it: '' where nobody is asked
    chunk     TEXT NOT NULL, -- its id
    body      BLOB NOT NULL, -- SHA-256 of what was sent under that id
    answer    TEXT NOT NULL, -- JSON
    UNIQUE (device_id, chunk)
) STRICT;
