"""The window: pages and a JSON API over the registry. Its rooms are furnished by the dashboard's own work."""
