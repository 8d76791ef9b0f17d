WITH late AS (SELECT * FROM flights WHERE delay > 0),
per_day AS (SELECT sched::DATE AS day, carrier, count(*) AS n, max(delay) AS worst FROM late GROUP BY ALL)
SELECT day, carrier, n, worst FROM per_day WHERE n > 3
