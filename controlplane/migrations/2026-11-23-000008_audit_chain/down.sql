DROP TABLE audit_requests;
DROP INDEX audit_caller;
ALTER TABLE audit DROP COLUMN hash;
ALTER TABLE audit DROP COLUMN request;
