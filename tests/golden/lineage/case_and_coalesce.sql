SELECT CASE WHEN delay > 15 THEN 'late' WHEN distance > 9 THEN tailnum END AS word, coalesce(departed, sched) AS t FROM flights
