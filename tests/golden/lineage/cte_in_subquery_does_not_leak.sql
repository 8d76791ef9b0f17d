SELECT f.id, x.name
FROM flights AS f, (WITH airlines AS (SELECT carrier, name FROM delays.airlines) SELECT * FROM airlines) AS x
WHERE x.carrier = f.carrier AND f.carrier IN (SELECT carrier FROM airlines)
