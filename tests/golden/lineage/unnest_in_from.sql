SELECT o.id, line.sku, line.n * 2 AS double_n FROM orders AS o, unnest(o.lines) AS t(line)
