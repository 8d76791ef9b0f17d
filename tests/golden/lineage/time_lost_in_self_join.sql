SELECT a.sched, b.delay FROM flights AS a JOIN flights AS b ON b.tailnum = a.tailnum
