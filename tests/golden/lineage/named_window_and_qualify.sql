SELECT tailnum, id, row_number() OVER w AS trip
FROM flights
WINDOW w AS (PARTITION BY tailnum ORDER BY departed)
QUALIFY lag(delay) OVER w > 0
