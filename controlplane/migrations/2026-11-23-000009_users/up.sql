-- Suspensions have a reason and may end by themselves; users have quotas, and counters to hold against them. Times are
-- Unix milliseconds. Of a quota NULL is the gateway's default and -1 no limit.
ALTER TABLE users ADD COLUMN suspended_reason TEXT;
ALTER TABLE users ADD COLUMN suspended_since INTEGER;
ALTER TABLE users ADD COLUMN suspended_until INTEGER;
ALTER TABLE users ADD COLUMN quota_routes INTEGER CHECK (quota_routes >= -1);
ALTER TABLE users ADD COLUMN quota_backends INTEGER CHECK (quota_backends >= -1);
ALTER TABLE users ADD COLUMN quota_mutations INTEGER CHECK (quota_mutations >= -1);
ALTER TABLE users ADD COLUMN route_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN backend_count INTEGER NOT NULL DEFAULT 0;
CREATE INDEX users_suspended ON users (key_id) WHERE suspended = 1;
CREATE INDEX users_suspended_until ON users (suspended_until) WHERE suspended_until IS NOT NULL;
CREATE INDEX users_quota_mutations ON users (key_id) WHERE quota_mutations IS NOT NULL;

UPDATE users SET suspended_since = coalesce(
    (SELECT max(at) FROM audit WHERE target = 'user/' || users.key_id AND method = 'admin.suspend'), first_seen)
    WHERE suspended = 1;

UPDATE users SET route_count = owned.routes, backend_count = owned.backends
    FROM (SELECT owner, count(*) AS routes, sum(json_array_length(backends)) AS backends FROM routes GROUP BY owner) AS owned
    WHERE owned.owner = users.key_id;

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
