SELECT o.id, x.per_tag, x.n
FROM orders AS o, LATERAL (SELECT o.total / len(o.tags) AS per_tag, len(o.tags) AS n) AS x
