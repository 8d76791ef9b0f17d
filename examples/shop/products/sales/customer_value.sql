/*
materialize: full
description: What each customer is worth, and how they rank in their country
*/
WITH spending AS (
    SELECT
        customer_id,
        count(*) AS orders,
        sum(total) AS spent
    FROM order_payments
    WHERE state <> 'cancelled'
    GROUP BY customer_id
)

SELECT
    c.customer_id,
    c.country,
    coalesce(s.orders, 0) AS orders,
    CAST(coalesce(s.spent, 0) AS DECIMAL(18,2)) AS spent,
    rank() OVER (PARTITION BY c.country ORDER BY coalesce(s.spent, 0) DESC) AS place_in_country,
    100.0 * CAST(coalesce(s.spent, 0) AS DOUBLE)
        / nullif(CAST(sum(s.spent) OVER (PARTITION BY c.country) AS DOUBLE), 0) AS share_of_country
FROM customers AS c
LEFT JOIN spending AS s ON s.customer_id = c.customer_id
