SELECT * EXCLUDE (nmae) FROM airlines
