SELECT max(COLUMNS(*)) FROM airlines
