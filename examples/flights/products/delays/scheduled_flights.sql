/*
materialize: full
description: One row for each scheduled flight, with true times and its outcome
*/
SELECT
    make_date(f.year, f.month, f.day) AS flight_date,
    f.time_hour,
    f.origin,
    f.dest,
    f.carrier,
    coalesce(a.name, f.carrier) AS carrier_name,
    f.flight,
    f.tailnum,
    f.time_hour + to_minutes(f.minute) AS scheduled_at,
    f.time_hour + to_minutes(f.minute + f.dep_delay) AS departed_at,
    f.dep_delay,
    f.arr_delay,
    f.air_time,
    f.distance,
    CASE
        WHEN f.dep_time IS NULL THEN 'cancelled'
        WHEN f.arr_delay > 15 THEN 'late'
        ELSE 'on time'
    END AS outcome
FROM flights AS f
LEFT JOIN airlines AS a ON a.carrier = f.carrier
