"""The feature store: products by client and sku, as they are now and as they were. Feast's types stay in here."""
