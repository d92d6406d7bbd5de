-- The identity of this database (`epoch`), and whatever else there is one of.
CREATE TABLE meta (
    key TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: counts every change. What a change touches carries its number as `version`.
CREATE TABLE revision (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO revision (id, value) VALUES (1, 1);

CREATE TABLE users (
    key_id TEXT PRIMARY KEY NOT NULL,
    suspended INTEGER NOT NULL DEFAULT 0 CHECK (suspended IN (0, 1)),
    version INTEGER NOT NULL,
    first_seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX users_version ON users (version);

-- Times are Unix milliseconds; backends is a JSON array of texts.
CREATE TABLE routes (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL REFERENCES users (key_id),
    host TEXT NOT NULL UNIQUE,
    mode TEXT NOT NULL CHECK (mode IN ('terminate', 'passthrough')),
    balance TEXT NOT NULL CHECK (balance IN ('round_robin', 'random')),
    backends TEXT NOT NULL CHECK (json_valid(backends)),
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX routes_owner ON routes (owner);
CREATE INDEX routes_version ON routes (version);

-- A deleted route, for the nodes that still hold it.
CREATE TABLE tombstones (
    route_id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_version ON tombstones (version);

-- names is a JSON array of hosts and `*.host` wildcards; chain is PEM, leaf first; sealed_key is the private key
-- under the secret key; not_before and not_after are Unix seconds.
CREATE TABLE certificates (
    id TEXT PRIMARY KEY NOT NULL,
    names TEXT NOT NULL CHECK (json_valid(names)),
    chain TEXT NOT NULL,
    sealed_key BLOB NOT NULL,
    issuer TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'active'
) STRICT;
CREATE INDEX certificates_version ON certificates (version);

-- The names of the certificates, one a row, kept by the triggers below.
CREATE TABLE certificate_names (
    name TEXT NOT NULL,
    certificate_id TEXT NOT NULL,
    PRIMARY KEY (name, certificate_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX certificate_names_certificate ON certificate_names (certificate_id);

CREATE TRIGGER certificates_inserted AFTER INSERT ON certificates BEGIN
    DELETE FROM certificate_names WHERE certificate_id = new.id;
    INSERT OR IGNORE INTO certificate_names (name, certificate_id) SELECT value, new.id FROM json_each(new.names);
END;
CREATE TRIGGER certificates_renamed AFTER UPDATE OF id, names ON certificates BEGIN
    DELETE FROM certificate_names WHERE certificate_id IN (old.id, new.id);
    INSERT OR IGNORE INTO certificate_names (name, certificate_id) SELECT value, new.id FROM json_each(new.names);
END;
CREATE TRIGGER certificates_deleted AFTER DELETE ON certificates BEGIN
    DELETE FROM certificate_names WHERE certificate_id = old.id;
END;

-- One row per mutation; before and after are JSON.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    at INTEGER NOT NULL,
    caller TEXT NOT NULL,
    client TEXT NOT NULL,
    method TEXT NOT NULL,
    target TEXT NOT NULL,
    before TEXT,
    after TEXT,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_target ON audit (target);

-- Nonces of signed mutations, each used once; expires_at is in Unix seconds.
CREATE TABLE nonces (
    key_id TEXT NOT NULL,
    nonce TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_expires_at ON nonces (expires_at);
