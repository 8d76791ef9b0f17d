/*
materialize: scd2
key: tailnum
order_by: since
description: Which airline flew which aircraft, and from when to when
*/
SELECT
    tailnum,
    carrier,
    carrier_name,
    time_hour AS since
FROM (
    SELECT
        tailnum,
        carrier,
        carrier_name,
        time_hour,
        lag(carrier) OVER (PARTITION BY tailnum ORDER BY time_hour, flight) AS carrier_before
    FROM scheduled_flights
    WHERE tailnum IS NOT NULL
) AS seen
WHERE carrier_before IS DISTINCT FROM carrier
