"""What a browser is told about a page: what it may load, and nothing else."""

_SHARED = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
)

PLAIN = _SHARED + "style-src 'self'; img-src 'self' data:"
"""A page without plots."""

PLOTS = _SHARED + "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:"
"""A page with plots: plotly writes styles into the page and draws pictures into blobs."""


def page_headers(*, plots: bool) -> dict[str, str]:
    """Headers of a page beside those of every answer."""
    return {"content-security-policy": PLOTS if plots else PLAIN}
