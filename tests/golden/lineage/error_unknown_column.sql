SELECT f.id,
       f.dealy,
       carier
FROM flights AS f
