/*
materialize: by time
time_column: order_date
grain: day
lookback: 1
description: What was sold each day
*/
SELECT
    CAST(ordered_at AS DATE) AS order_date,
    count(*) FILTER (WHERE status <> 'cancelled') AS orders,
    CAST(coalesce(sum(quantity) FILTER (WHERE status <> 'cancelled'), 0) AS BIGINT) AS pieces,
    CAST(coalesce(sum(quantity * unit_price) FILTER (WHERE status <> 'cancelled'), 0) AS DECIMAL(18,2)) AS revenue,
    avg(CAST(quantity * unit_price AS DOUBLE)) FILTER (WHERE status <> 'cancelled') AS order_mean,
    count(*) FILTER (WHERE status = 'cancelled') AS cancelled
FROM orders
GROUP BY order_date
