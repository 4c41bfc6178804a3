"""From somebody's catalogue to a checked snapshot: fetched, validated row by row, judged as a whole, kept."""
