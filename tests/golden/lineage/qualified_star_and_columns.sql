SELECT a.*, COLUMNS('^d') FROM (SELECT delay, distance, carrier FROM flights) AS f JOIN airlines AS a ON a.carrier = f.carrier
