-- Several routes may claim one host, and at most one of them holds it. Routes from before hold theirs. reversed is the
-- host with its labels in reverse order, so that all hosts below a host are one range.
CREATE TABLE claimable_routes (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (key_id),
    host TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('terminate', 'passthrough')),
    backends TEXT NOT NULL CHECK (json_valid(backends)),
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    options TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(options)),
    reversed TEXT NOT NULL,
    held INTEGER NOT NULL DEFAULT 1 CHECK (held IN (0, 1))
) STRICT;

WITH RECURSIVE labels (id, rest, reversed) AS (
    SELECT id, host || '.', '' FROM routes
    UNION ALL
    SELECT id, substr(rest, instr(rest, '.') + 1),
        substr(rest, 1, instr(rest, '.') - 1) || iif(reversed = '', '', '.' || reversed)
        FROM labels WHERE rest <> ''
)
INSERT INTO claimable_routes (id, owner, host, mode, backends, version, created_at, updated_at, options, reversed)
    SELECT routes.id, owner, host, mode, backends, version, created_at, updated_at, options, labels.reversed
    FROM labels CROSS JOIN routes ON routes.id = labels.id WHERE labels.rest = '';

DROP TABLE routes;
ALTER TABLE claimable_routes RENAME TO routes;

CREATE UNIQUE INDEX routes_held ON routes (host) WHERE held = 1;
CREATE UNIQUE INDEX routes_owner_host ON routes (owner, host);
CREATE INDEX routes_host ON routes (host);
CREATE INDEX routes_mode_host ON routes (mode, host);
CREATE INDEX routes_version ON routes (version);
CREATE INDEX routes_reversed ON routes (reversed, owner, held);

CREATE TRIGGER routes_counted AFTER INSERT ON routes BEGIN
    UPDATE users SET route_count = route_count + 1, backend_count = backend_count + json_array_length(new.backends)
        WHERE key_id = new.owner;
END;
CREATE TRIGGER routes_recounted AFTER UPDATE OF owner, backends ON routes
    WHEN old.owner != new.owner OR old.backends != new.backends BEGIN
    UPDATE users SET route_count = route_count - 1, backend_count = backend_count - json_array_length(old.backends)
        WHERE key_id = old.owner;
    UPDATE users SET route_count = route_count + 1, backend_count = backend_count + json_array_length(new.backends)
        WHERE key_id = new.owner;
END;
CREATE TRIGGER routes_discounted AFTER DELETE ON routes BEGIN
    UPDATE users SET route_count = route_count - 1, backend_count = backend_count - json_array_length(old.backends)
        WHERE key_id = old.owner;
END;

-- The claims of routes that do not hold their hosts. Times are Unix milliseconds; records is a JSON array of the DNS
-- records that the owner can create.
CREATE TABLE claims (
    route_id TEXT PRIMARY KEY NOT NULL REFERENCES routes (id) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    host TEXT NOT NULL,
    displaced INTEGER NOT NULL DEFAULT 0 CHECK (displaced IN (0, 1)),
    since INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    check_at INTEGER NOT NULL,
    checked_at INTEGER,
    reason TEXT NOT NULL,
    records TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(records))
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_owner ON claims (owner);
CREATE INDEX claims_host ON claims (host);
CREATE INDEX claims_check_at ON claims (check_at);
