"""The API's documentation: OpenAPI at the old gateway's paths, and Swagger UI, served from here alone."""

from importlib.resources import files
from typing import Final

from fastapi import FastAPI
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

POLICY: Final = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
PAGE: Final = files("gateway").joinpath("static", "swagger.html").read_text("utf-8")


def install(app: FastAPI) -> None:
    """Serve the document, the page, and its files."""

    async def api_docs() -> Response:
        return JSONResponse(app.openapi())

    async def swagger_ui() -> Response:
        return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})

    for path in ("/api-docs", "/v3/api-docs", "/api/api-docs"):
        app.add_api_route(path, api_docs, include_in_schema=False)
    for path in ("/swagger-ui.html", "/api/swagger-ui.html"):
        app.add_api_route(path, swagger_ui, include_in_schema=False)
    app.mount("/static/vendor", StaticFiles(packages=[("gateway", "vendor")]), name="vendor")
    app.mount("/static", StaticFiles(packages=[("gateway", "static")]), name="static")
