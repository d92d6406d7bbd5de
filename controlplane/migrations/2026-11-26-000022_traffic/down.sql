DROP TRIGGER route_traffic_deleted;
DROP TABLE route_traffic;
