"""What a certificate says of itself."""

import ssl


def expiry(file: str) -> float | None:
    """Return the Unix time after which the first certificate of a PEM file is no longer valid; None
    if there is none, or the file cannot be read."""
    try:
        # The standard library decodes the certificate of a peer only. This function is of its own
        # tests and has stayed the same since Python 2.6.
        fields = ssl._ssl._test_decode_cert(file)  # type: ignore[attr-defined]
    except OSError:
        return None
    return float(ssl.cert_time_to_seconds(fields["notAfter"]))
