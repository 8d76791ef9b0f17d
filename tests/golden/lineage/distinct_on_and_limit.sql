SELECT DISTINCT ON (carrier) carrier, id, sched FROM flights ORDER BY carrier, departed DESC LIMIT 10
