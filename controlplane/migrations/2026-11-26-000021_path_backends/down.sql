DROP TRIGGER routes_discounted;
DROP TRIGGER routes_recounted;
DROP TRIGGER routes_counted;

UPDATE users SET backend_count = coalesce(
    (SELECT sum(json_array_length(backends)) FROM routes WHERE routes.owner = users.key_id), 0);

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
