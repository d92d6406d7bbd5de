-- The traffic of a route on one node in one hour (Unix time in hours). requests (with passthrough connections) and bytes
-- are for sorting; counts is the whole of it, as JSON. Rows go with their route.
CREATE TABLE route_traffic (
    route_id TEXT NOT NULL,
    hour INTEGER NOT NULL,
    node TEXT NOT NULL,
    requests INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    counts TEXT NOT NULL CHECK (json_valid(counts)),
    PRIMARY KEY (route_id, hour, node)
) STRICT, WITHOUT ROWID;
CREATE INDEX route_traffic_hour ON route_traffic (hour, route_id, requests, bytes);

CREATE TRIGGER route_traffic_deleted AFTER DELETE ON routes BEGIN
    DELETE FROM route_traffic WHERE route_id = old.id;
END;
