WITH unused AS (SELECT carrier FROM airlines WHERE name LIKE 'A%')
SELECT id FROM flights
