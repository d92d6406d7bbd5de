-- The CA of the nodes: one row. sealed_key is its private key under the secret key.
CREATE TABLE node_authority (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    certificate BLOB NOT NULL,
    sealed_key BLOB NOT NULL
) STRICT;

-- Join tokens, each good once; secret_hash is the SHA-256 of the secret. Times are Unix seconds, here and below.
CREATE TABLE node_invites (
    secret_hash BLOB PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX node_invites_expires_at ON node_invites (expires_at);

-- What was said about nodes. member is the id in a node's certificates, NULL if it never joined; fingerprint (SHA-256)
-- and not_after are of its newest certificate.
CREATE TABLE nodes (
    name TEXT PRIMARY KEY NOT NULL,
    member TEXT UNIQUE,
    fingerprint BLOB,
    not_after INTEGER,
    drained INTEGER NOT NULL DEFAULT 0 CHECK (drained IN (0, 1)),
    joined_at INTEGER,
    removed_at INTEGER,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX nodes_version ON nodes (version);
