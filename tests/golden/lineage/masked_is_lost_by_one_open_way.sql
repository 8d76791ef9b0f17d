SELECT count(email) AS n FROM customers
UNION ALL
SELECT id FROM customers
