-- Our account at each CA, by the URL of its directory; the credentials are sealed. created_at is in Unix seconds, as
-- all times here.
CREATE TABLE acme_accounts (
    directory TEXT PRIMARY KEY NOT NULL,
    sealed_credentials BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The orders under way, so that each is finished and none placed twice; sealed_key is the certificate's private key.
CREATE TABLE acme_orders (
    certificate_id TEXT NOT NULL,
    directory TEXT NOT NULL,
    url TEXT NOT NULL,
    names TEXT NOT NULL CHECK (json_valid(names)),
    sealed_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (certificate_id, directory)
) STRICT, WITHOUT ROWID;

-- How the issuance of each certificate stands. records is a JSON array of the DNS records its owner has to create;
-- renew_at and ask_at are the CA's renewal information (RFC 9773): when it wants it renewed, when to ask it again.
CREATE TABLE issuance (
    certificate_id TEXT PRIMARY KEY NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER,
    last_error TEXT,
    last_ca TEXT,
    records TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(records)),
    missing_since INTEGER,
    renew_requested INTEGER NOT NULL DEFAULT 0 CHECK (renew_requested IN (0, 1)),
    renew_at INTEGER,
    ask_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX issuance_renew_requested ON issuance (certificate_id) WHERE renew_requested = 1;

-- What was spent of the CAs' limits, one row each time.
CREATE TABLE budgets (
    directory TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX budgets_subject ON budgets (directory, kind, subject, at);
CREATE INDEX budgets_at ON budgets (at);
