SELECT address.city, o.address.geo.lat AS lat, o.address.geo['lon'] AS lon FROM shop.orders AS o
