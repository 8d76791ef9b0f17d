/*
materialize: by time
time_column: day
grain: day
*/
SELECT
  ordered_at::DATE AS day,
  count(*) AS orders,
  sum(amount) AS revenue
FROM orders
GROUP BY ALL
