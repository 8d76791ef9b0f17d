SELECT carrier, upper(origin) AS place, sum(delay) FILTER (WHERE distance > 10) AS total
FROM flights
GROUP BY ALL
ORDER BY ALL
