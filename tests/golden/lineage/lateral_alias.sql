SELECT delay * 60 AS seconds, seconds * 1000 AS ms FROM flights WHERE ms > 0
