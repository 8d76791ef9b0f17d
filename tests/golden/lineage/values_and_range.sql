SELECT v.word, r.i, f.id FROM (VALUES ('a', 1), ('b', 2)) AS v(word, n), range(3) AS r(i), flights AS f WHERE f.delay = v.n
