SELECT id, carrier FROM flights UNION ALL SELECT 0, name FROM airlines WHERE name <> 'x'
