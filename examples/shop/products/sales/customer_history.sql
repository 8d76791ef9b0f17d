/*
materialize: scd2
key: customer_id
order_by: updated_at
description: Every state that a customer was in, and from when to when
*/
SELECT
    customer_id,
    country,
    segment,
    updated_at
FROM customers
