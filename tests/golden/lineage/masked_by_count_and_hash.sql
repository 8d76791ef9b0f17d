SELECT country, count(DISTINCT email) AS people, sha256(email) AS person, md5(email) || country AS mixed,
  count(*) AS n, hash(id, email) AS bucket
FROM customers
GROUP BY ALL
