"""The conformance cases of an Apollo config service: black box, for any compatible server."""
