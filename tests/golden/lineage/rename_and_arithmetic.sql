SELECT id AS flight_id, delay * 60 AS delay_s, delay + distance AS nonsense, 1 AS one FROM flights
