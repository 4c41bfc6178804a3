"""Products, creatives and the network that writes them. Knows neither `app` nor `pipelines`."""
