WITH flights AS (SELECT id, delay FROM flights WHERE origin = 'JFK')
SELECT id, delay FROM flights
