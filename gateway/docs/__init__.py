"""The pages that show the OpenAPI document: Swagger UI to try it, ReDoc to read it.

All files come from this server: two small pages of our own, without scripts in them, and from the
wheel `offapi` Swagger UI (Apache-2.0) and ReDoc (MIT). ReDoc would show a logo from its makers'
server, which the content security policy of the pages must forbid.
"""

from collections.abc import Mapping
from importlib.resources import files

_HTML, _CSS = "text/html; charset=utf-8", "text/css; charset=utf-8"
_JS = "text/javascript; charset=utf-8"
_FILES = {
    "/docs": (_HTML, __name__, "swagger.html"),
    "/docs/start.js": (_JS, __name__, "swagger.js"),
    "/docs/swagger-ui.js": (_JS, "offapi", "swagger_bundle.js"),
    "/docs/swagger-ui.css": (_CSS, "offapi", "swagger_style.css"),
    "/redoc": (_HTML, __name__, "redoc.html"),
    "/redoc/start.js": (_JS, __name__, "redoc.js"),
    "/redoc/redoc.js": (_JS, "offapi", "redoc.js"),
}


def assets() -> Mapping[str, tuple[str, bytes]]:
    """Content type and bytes of every file, by the path at which it is served."""
    return {
        path: (content_type, files(package).joinpath(name).read_bytes())
        for path, (content_type, package, name) in _FILES.items()
    }
