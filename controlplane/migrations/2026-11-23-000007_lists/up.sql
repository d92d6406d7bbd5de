-- Pages of routes are by host: of one owner, of one mode.
CREATE INDEX routes_owner_host ON routes (owner, host);
CREATE INDEX routes_mode_host ON routes (mode, host);
DROP INDEX routes_owner;
