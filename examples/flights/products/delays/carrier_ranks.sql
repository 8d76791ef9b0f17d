/*
materialize: full
description: Airlines ranked by mean arrival delay, month by month
*/
WITH months AS (
    SELECT
        CAST(date_trunc('month', flight_date) AS DATE) AS month_start,
        carrier,
        carrier_name,
        count(*) AS flights,
        avg(arr_delay) AS arr_delay_mean
    FROM scheduled_flights
    WHERE arr_delay IS NOT NULL
    GROUP BY month_start, carrier, carrier_name
),

placed AS (
    SELECT
        *,
        rank() OVER (PARTITION BY month_start ORDER BY arr_delay_mean) AS place
    FROM months
)

SELECT
    month_start,
    carrier,
    carrier_name,
    flights,
    arr_delay_mean,
    place,
    place - lag(place) OVER by_carrier AS place_change,
    avg(arr_delay_mean) OVER (by_carrier ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS arr_delay_mean_3_months
FROM placed
WINDOW by_carrier AS (PARTITION BY carrier ORDER BY month_start)
