SELECT date_trunc('month', placed) AS month, sum(total) AS total FROM orders GROUP BY month
