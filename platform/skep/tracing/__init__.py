"""Spans by OpenTelemetry's SDK, which is imported only where PLATFORM_TRACING asks for it."""
