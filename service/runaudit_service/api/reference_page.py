"""`/docs`: the API's document in Swagger UI, from files of this service alone, so that it works in a closed network and
no stranger's script runs where people type their key.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Runaudit: the API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START: Final = """\
SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
"""
HEADERS: Final = {
    # Swagger UI sets styles on its elements, and has its icons as data.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
KEPT_SECONDS: Final = 3600
"""they change with the service only"""
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "png": "image/png"}
_UI: Final = files("fastapi_swagger") / "resources"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE, headers=HEADERS)


@router.get("/docs/start.js")
async def start() -> Response:
    return Response(START, media_type=_TYPES["js"], headers=HEADERS)


def _serve(name: str) -> None:
    def part() -> Response:
        kind = _TYPES[name.rsplit(".", 1)[1]]
        kept = {"Cache-Control": f"public, max-age={KEPT_SECONDS}"}
        return Response((_UI / name).read_bytes(), media_type=kind, headers=HEADERS | kept)

    router.add_api_route(f"/docs/{name}", part)


for _name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
    _serve(_name)
