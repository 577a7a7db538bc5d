//! The page at `/`: three files and some pictures, all within the program.
//!
//! It asks this server and nobody else, as a browser is told to see to.

use axum::Router;
use axum::http::header;
use axum::routing::get;

/// Scripts, styles and requests of this server only, nothing inline, and no page around this one. Pictures
/// that are dropped are shown from memory.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const PNG: &str = "image/png";

/// Paths, types and contents. The pictures are of the easy-VQA set (MIT).
const PARTS: [(&str, &str, &[u8]); 8] = [
    ("/", HTML, include_bytes!("page.html")),
    ("/page.css", CSS, include_bytes!("page.css")),
    ("/page.js", JS, include_bytes!("page.js")),
    ("/samples/1.png", PNG, include_bytes!("sample-1.png")),
    ("/samples/2.png", PNG, include_bytes!("sample-2.png")),
    ("/samples/3.png", PNG, include_bytes!("sample-3.png")),
    ("/samples/4.png", PNG, include_bytes!("sample-4.png")),
    ("/samples/5.png", PNG, include_bytes!("sample-5.png")),
];

/// Whether a path is one of the page's.
pub fn is_part(path: &str) -> bool {
    PARTS.iter().any(|(of, ..)| *of == path)
}

/// What the page is made of.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    PARTS
        .iter()
        .fold(Router::new(), |router, &(path, kind, bytes)| {
            let headers = [
                (header::CONTENT_TYPE, kind),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
                // Another version of the program has another page.
                (header::CACHE_CONTROL, "no-cache"),
            ];
            router.route(path, get(move || async move { (headers, bytes) }))
        })
}
