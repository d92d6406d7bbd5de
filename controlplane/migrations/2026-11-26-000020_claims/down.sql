-- Routes that do not hold their hosts are lost.
DROP TABLE claims;
CREATE TABLE exclusive_routes (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (key_id),
    host TEXT NOT NULL UNIQUE,
    mode TEXT NOT NULL CHECK (mode IN ('terminate', 'passthrough')),
    backends TEXT NOT NULL CHECK (json_valid(backends)),
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    options TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(options))
) STRICT;
DELETE FROM routes WHERE held = 0;
INSERT INTO exclusive_routes
    SELECT id, owner, host, mode, backends, version, created_at, updated_at, options FROM routes;
DROP TABLE routes;
ALTER TABLE exclusive_routes RENAME TO routes;
CREATE INDEX routes_owner_host ON routes (owner, host);
CREATE INDEX routes_mode_host ON routes (mode, host);
CREATE INDEX routes_version ON routes (version);
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
