UNPIVOT hourly ON wind, rain INTO NAME measure VALUE reading
