SELECT f.id
FROM flights AS f
SEMI JOIN airlines AS a ON a.carrier = f.carrier
ANTI JOIN weather.hourly AS w ON w.origin = f.origin
