DROP TABLE budgets;
DROP TABLE issuance;
DROP TABLE acme_orders;
DROP TABLE acme_accounts;
