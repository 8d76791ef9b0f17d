SELECT f.id, a.name
FROM flights AS f
JOIN airlines AS a ON a.carrier = f.carrier
WHERE f.delay > 15
