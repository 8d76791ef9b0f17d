SELECT address.*, unnest(address.geo), unnest(tags) AS tag FROM orders
