/*
materialize: by key
key: tailnum
order_by: last_flight_at
description: Each aircraft seen, with what the register knows of it
*/
SELECT
    f.tailnum,
    max(f.time_hour) AS last_flight_at,
    count(*) AS flights,
    CAST(coalesce(sum(f.distance) FILTER (WHERE f.outcome <> 'cancelled'), 0) AS BIGINT) AS miles,
    any_value(p.manufacturer) AS manufacturer,
    any_value(p.model) AS model,
    any_value(p.year_built) AS year_built,
    any_value(p.seats) AS seats
FROM scheduled_flights AS f
LEFT JOIN planes AS p ON p.tailnum = f.tailnum
WHERE f.tailnum IS NOT NULL
GROUP BY f.tailnum
