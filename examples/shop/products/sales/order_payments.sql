/*
materialize: by key
key: order_id
order_by: last_event_at
description: Each order with what was paid for it
*/
WITH paid AS (
    SELECT
        order_id,
        sum(amount) AS amount,
        count(*) AS payments,
        max(paid_at) AS last_paid_at
    FROM payments
    GROUP BY order_id
)

SELECT
    o.order_id,
    o.customer_id,
    CAST(o.ordered_at AS DATE) AS order_date,
    CAST(o.quantity * o.unit_price AS DECIMAL(18,2)) AS total,
    CAST(coalesce(p.amount, 0) AS DECIMAL(18,2)) AS paid,
    coalesce(p.payments, 0) AS payments,
    greatest(o.ordered_at, p.last_paid_at) AS last_event_at,
    CASE
        WHEN o.status = 'cancelled' THEN 'cancelled'
        WHEN p.amount IS NULL THEN 'open'
        WHEN p.amount < o.quantity * o.unit_price THEN 'part paid'
        ELSE 'paid'
    END AS state
FROM orders AS o
LEFT JOIN paid AS p ON p.order_id = o.order_id
