SELECT f.id, f.sched, w.wind
FROM flights AS f
ASOF LEFT JOIN weather.hourly AS w ON w.origin = f.origin AND w.observed <= f.sched
