"""When each operator computes what: schedules, what they keep in memory, and the search for one. Pure integers."""
