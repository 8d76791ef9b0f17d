/*
materialize: full
description: What each department sells in each country
*/
SELECT
    p.category,
    coalesce(c.country, '??') AS country,
    count(*) AS orders,
    CAST(sum(o.quantity * o.unit_price) AS DECIMAL(18,2)) AS revenue
FROM orders AS o
INNER JOIN products AS p ON p.product_id = o.product_id
LEFT JOIN customers AS c ON c.customer_id = o.customer_id
WHERE o.status <> 'cancelled'
GROUP BY p.category, coalesce(c.country, '??')
