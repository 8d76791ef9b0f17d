/*
materialize: full
description: How punctual each route is, with where it leads
*/
SELECT
    f.origin,
    f.dest,
    any_value(a.name) AS dest_name,
    any_value(a.lat) AS lat,
    any_value(a.lon) AS lon,
    count(*) AS flights,
    100.0 * count(*) FILTER (WHERE f.outcome = 'cancelled') / count(*) AS cancelled_percent,
    median(CAST(f.arr_delay AS DOUBLE)) AS arr_delay_median,
    max(f.distance) AS distance
FROM scheduled_flights AS f
LEFT JOIN airports AS a ON a.faa = f.dest
GROUP BY f.origin, f.dest
