-- The backends of a route's path rules count like its own, each once.
DROP TRIGGER routes_discounted;
DROP TRIGGER routes_recounted;
DROP TRIGGER routes_counted;

CREATE TRIGGER routes_counted AFTER INSERT ON routes BEGIN
    UPDATE users SET route_count = route_count + 1, backend_count = backend_count + (
        SELECT count(*) FROM (
            SELECT value FROM json_each(new.backends) UNION
            SELECT backend.value FROM json_each(new.options, '$.paths') rule, json_each(rule.value, '$.backends') backend
        )
    ) WHERE key_id = new.owner;
END;
CREATE TRIGGER routes_recounted AFTER UPDATE OF owner, backends, options ON routes
    WHEN old.owner != new.owner OR old.backends != new.backends OR old.options != new.options BEGIN
    UPDATE users SET route_count = route_count - 1, backend_count = backend_count - (
        SELECT count(*) FROM (
            SELECT value FROM json_each(old.backends) UNION
            SELECT backend.value FROM json_each(old.options, '$.paths') rule, json_each(rule.value, '$.backends') backend
        )
    ) WHERE key_id = old.owner;
    UPDATE users SET route_count = route_count + 1, backend_count = backend_count + (
        SELECT count(*) FROM (
            SELECT value FROM json_each(new.backends) UNION
            SELECT backend.value FROM json_each(new.options, '$.paths') rule, json_each(rule.value, '$.backends') backend
        )
    ) WHERE key_id = new.owner;
END;
CREATE TRIGGER routes_discounted AFTER DELETE ON routes BEGIN
    UPDATE users SET route_count = route_count - 1, backend_count = backend_count - (
        SELECT count(*) FROM (
            SELECT value FROM json_each(old.backends) UNION
            SELECT backend.value FROM json_each(old.options, '$.paths') rule, json_each(rule.value, '$.backends') backend
        )
    ) WHERE key_id = old.owner;
END;
