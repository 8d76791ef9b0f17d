SELECT carrier, name, id FROM flights FULL JOIN airlines USING (carrier)
