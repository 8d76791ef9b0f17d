SELECT list_transform(tags, lambda t: t || country) AS a, [upper(x) FOR x IN tags IF x <> email] AS b FROM orders JOIN customers ON customers.id = customer_id
