WITH d AS (SELECT carrier, sched::DATE AS day, sum(delay) AS total FROM flights GROUP BY ALL)
SELECT carrier, day, avg(total) OVER (PARTITION BY carrier ORDER BY day ROWS 6 PRECEDING) AS week_avg FROM d
