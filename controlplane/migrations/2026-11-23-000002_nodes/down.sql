DROP TABLE nodes;
DROP TABLE node_invites;
DROP TABLE node_authority;
