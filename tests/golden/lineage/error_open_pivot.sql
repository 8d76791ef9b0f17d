PIVOT flights ON origin USING sum(delay)
