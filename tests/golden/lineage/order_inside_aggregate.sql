SELECT carrier, string_agg(tailnum, ',' ORDER BY sched) AS tails, arg_max(id, delay) AS worst FROM flights GROUP BY carrier
