SELECT * EXCLUDE (tailnum, departed) REPLACE (delay / 60 AS delay) RENAME (sched AS planned) FROM flights
