SELECT date_trunc('hour', sched) AS hour, id,
  rank() OVER (PARTITION BY sched, origin ORDER BY delay DESC) AS place
FROM flights
