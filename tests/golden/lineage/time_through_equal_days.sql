WITH f AS (SELECT sched::DATE AS day, origin, count(*) AS n FROM flights GROUP BY ALL),
w AS (SELECT date_trunc('day', observed) AS day, origin, max(wind) AS wind FROM weather.hourly GROUP BY ALL)
SELECT day, f.origin, n, wind FROM f LEFT JOIN w USING (day, origin)
