FROM customers SELECT email.lower() AS email WHERE country = 'NL'
