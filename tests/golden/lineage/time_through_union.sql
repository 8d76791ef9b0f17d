SELECT sched::DATE AS day FROM flights UNION ALL SELECT at::DATE FROM weather.hourly
