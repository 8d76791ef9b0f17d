PIVOT (SELECT carrier, origin, delay FROM flights) ON origin IN ('JFK', 'LGA') USING sum(delay) AS total GROUP BY carrier
