SELECT f.sched, a.name FROM flights AS f RIGHT JOIN airlines AS a USING (carrier)
