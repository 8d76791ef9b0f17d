SELECT c.id, (SELECT max(o.total) FROM orders AS o WHERE o.customer_id = c.id) AS biggest
FROM customers AS c
WHERE EXISTS (SELECT 1 FROM orders WHERE orders.customer_id = c.id AND total > 10)
