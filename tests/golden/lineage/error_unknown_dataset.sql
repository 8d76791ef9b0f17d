SELECT id FROM flihgts
