SELECT a AS whole, delays.flights.delay FROM delays.flights JOIN airlines AS a ON true
