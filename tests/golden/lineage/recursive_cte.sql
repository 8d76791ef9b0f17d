WITH RECURSIVE chain(id, boss, depth) AS (
  SELECT id, manager_id, 0 FROM customers WHERE manager_id IS NOT NULL
  UNION ALL
  SELECT chain.id, c.manager_id, depth + 1 FROM chain JOIN customers AS c ON c.id = chain.boss WHERE depth < 9
)
SELECT id, boss, depth FROM chain
