/*
materialize: full
description: Each flight with the newest observation at its airport, not one from the future
*/
SELECT
    f.flight_date,
    f.time_hour,
    f.origin,
    f.carrier,
    f.flight,
    f.tailnum,
    f.dep_delay,
    w.time_hour AS weather_at,
    date_diff('minute', w.time_hour, f.time_hour) AS weather_age_min,
    w.temp,
    w.wind_speed,
    w.precip,
    w.visib,
    CASE
        WHEN w.time_hour IS NULL THEN 'unknown'
        WHEN w.wind_speed >= 30 OR w.wind_gust >= 45 THEN 'storm'
        WHEN w.precip > 0.01 THEN 'rain'
        WHEN w.visib < 2 THEN 'fog'
        ELSE 'fair'
    END AS conditions
FROM scheduled_flights AS f
ASOF LEFT JOIN weather AS w
    ON w.origin = f.origin
    AND w.time_hour <= f.time_hour
