-- Options other than these two are lost.
ALTER TABLE routes ADD COLUMN balance TEXT NOT NULL DEFAULT 'round_robin' CHECK (balance IN ('round_robin', 'random'));
ALTER TABLE routes ADD COLUMN health TEXT;
UPDATE routes SET
    balance = coalesce(json_extract(options, '$.balance'), 'round_robin'),
    health = json_extract(options, '$.health');
ALTER TABLE routes DROP COLUMN options;
