"""The portal: what people do with the config server, in pages."""
