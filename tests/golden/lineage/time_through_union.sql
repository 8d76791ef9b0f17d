SELECT sched::DATE AS day FROM flights UNION ALL SELECT observed::DATE FROM weather.hourly
