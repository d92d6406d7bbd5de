CREATE INDEX routes_owner ON routes (owner);
DROP INDEX routes_mode_host;
DROP INDEX routes_owner_host;
