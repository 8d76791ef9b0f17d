SELECT carrier, id FROM flights UNION ALL BY NAME SELECT name, carrier FROM airlines
