SELECT id, carrier FROM flights UNION ALL SELECT name FROM airlines
