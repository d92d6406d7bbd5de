-- How the nodes look after the backends, as JSON; NULL: judged by the traffic alone.
ALTER TABLE routes ADD COLUMN health TEXT;
