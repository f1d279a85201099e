-- Version 8: what shipperd's requests cost on the link (docs/decisions/0018-budget.md). Both are
-- estimates of the bytes of IP packets.
CREATE TABLE traffic (
    day      INTEGER PRIMARY KEY, -- days since 1970-01-01 UTC; 0 while no day is known yet
    sent     INTEGER NOT NULL CHECK (sent BETWEEN 0 AND 1125899906842624),
    received INTEGER NOT NULL CHECK (received BETWEEN 0 AND 1125899906842624)
) STRICT;
