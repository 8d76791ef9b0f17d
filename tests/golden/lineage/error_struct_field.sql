SELECT address.town FROM orders
