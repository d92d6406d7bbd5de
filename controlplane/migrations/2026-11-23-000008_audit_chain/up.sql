-- The audit as a chain: hash is that of the record and of the one before it; request names the signed request it came
-- from. Records from before have neither.
ALTER TABLE audit ADD COLUMN request TEXT;
ALTER TABLE audit ADD COLUMN hash TEXT;
CREATE INDEX audit_caller ON audit (caller, id);

-- Signed requests that changed something, by their hash; evidence is JSON: key, algorithm, base, signature, body.
CREATE TABLE audit_requests (
    hash TEXT PRIMARY KEY NOT NULL,
    evidence TEXT NOT NULL CHECK (json_valid(evidence))
) STRICT, WITHOUT ROWID;
