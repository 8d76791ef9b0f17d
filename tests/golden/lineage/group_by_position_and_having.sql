SELECT carrier, date_trunc('day', sched) AS day, avg(delay) AS avg_delay
FROM flights
GROUP BY 1, 2
HAVING max(distance) > 100
