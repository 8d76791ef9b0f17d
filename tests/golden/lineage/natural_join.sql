SELECT id, wind FROM flights NATURAL JOIN weather.hourly
