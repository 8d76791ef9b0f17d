/*
materialize: by time
time_column: flight_date
grain: day
lookback: 2
description: Punctuality of each airline at each airport, day by day
*/
SELECT
    flight_date,
    origin,
    carrier,
    count(*) AS flights,
    count(*) FILTER (WHERE outcome = 'cancelled') AS cancelled,
    count(*) FILTER (WHERE outcome = 'late') AS late,
    avg(dep_delay) AS dep_delay_mean,
    avg(arr_delay) AS arr_delay_mean,
    quantile_cont(CAST(arr_delay AS DOUBLE), 0.9) AS arr_delay_p90
FROM scheduled_flights
GROUP BY flight_date, origin, carrier
