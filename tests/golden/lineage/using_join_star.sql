SELECT * FROM flights JOIN airlines USING (carrier)
