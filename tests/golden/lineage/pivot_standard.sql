SELECT * FROM (SELECT carrier, origin, delay FROM flights) PIVOT (max(delay) FOR origin IN ('JFK', 'EWR') GROUP BY carrier)
