-- When the route was deleted, in Unix milliseconds, so that it is not remembered for ever.
ALTER TABLE tombstones ADD COLUMN deleted_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX tombstones_deleted_at ON tombstones (deleted_at);
UPDATE tombstones SET deleted_at = unixepoch() * 1000;
