"""Watch the running service: rules, routes, dashboards, and a local stack to try them on."""
