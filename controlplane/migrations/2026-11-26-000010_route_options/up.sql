-- Everything a route says beyond its host, mode and backends, as one JSON object: an option is added without a migration.
ALTER TABLE routes ADD COLUMN options TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(options));
UPDATE routes SET options = CASE
    WHEN health IS NULL THEN json_object('balance', balance)
    ELSE json_object('balance', balance, 'health', json(health))
END;
ALTER TABLE routes DROP COLUMN health;
ALTER TABLE routes DROP COLUMN balance;
