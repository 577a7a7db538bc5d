//! Who may ask.

use axum::extract::{self, Request};
use axum::http::{HeaderMap, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{ApiError, State, body, page};

/// Whether it needs no key: that it is well, and the page, which asks for the key.
fn is_open(path: &str) -> bool {
    path == "/health" || page::is_part(path)
}

/// Lets a request pass, or answers it with 403, 401, 503 or 505.
pub async fn guard(
    extract::State(state): extract::State<State>,
    request: Request,
    next: Next,
) -> Response {
    match check(&state, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            body::read(request, 0, state.settings.patience).await.ok();
            error.into_response()
        }
    }
}

fn check(state: &State, request: &Request) -> Result<(), ApiError> {
    let (headers, path) = (request.headers(), request.uri().path());
    // A connection of several requests at once would have no one clock.
    if request.version() > Version::HTTP_11 {
        let message = "HTTP/1.1 is spoken here";
        return Err(ApiError::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            message,
        ));
    }
    if state.on_loopback {
        check_host(headers)?;
    }
    check_origin(headers)?;
    if !is_open(path) {
        check_key(state, headers)?;
        if state.is_stopping() && path != "/metrics" {
            return Err(ApiError::stopping());
        }
    }
    Ok(())
}

/// A web page can have a name of its own resolve to this machine, and would then be on this server's side
/// of the browser's rules. Only names that mean this machine for everyone are answered.
fn check_host(headers: &HeaderMap) -> Result<(), ApiError> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if host.is_some_and(is_loopback) {
        return Ok(());
    }
    let message = "the Host header must be localhost or a loopback address; to serve others, bind with --addr and set a key";
    Err(ApiError::new(StatusCode::FORBIDDEN, message).code("host_not_allowed"))
}

/// Whether a Host header is a name of the machine itself.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<axum::http::uri::Authority>() else {
        return false;
    };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Browsers say which page a request is of. Pages of others may not ask: they could have the machine work,
/// even where they cannot read its answers.
fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let text = |value: &axum::http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let origin = text(origin).and_then(|origin| origin.parse::<Uri>().ok());
    let authority = origin.and_then(|origin| Some(origin.authority()?.to_string()));
    let host = headers.get(header::HOST).and_then(text);
    if authority.is_some() && authority == host {
        return Ok(());
    }
    let message = "pages of other origins may not ask this server";
    Err(ApiError::new(StatusCode::FORBIDDEN, message).code("origin_not_allowed"))
}

fn check_key(state: &State, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(key) = state.settings.key else {
        return Ok(());
    };
    let refused = |message: &str| {
        Err(ApiError::new(StatusCode::UNAUTHORIZED, message).code("invalid_api_key"))
    };
    let given = headers.get(header::AUTHORIZATION);
    let given = given.and_then(|given| given.as_bytes().split_at_checked(7));
    match given {
        // Equality of hashes takes the same time wherever they differ.
        Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
            match blake3::hash(given) == key {
                true => Ok(()),
                false => refused("the API key is wrong"),
            }
        }
        _ => refused("an API key is needed: Authorization: Bearer KEY"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_machine_itself_are_loopback() {
        for good in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:8080",
            "user@evil.example:80",
            "[::2]",
            "0.0.0.0",
            " localhost",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn an_origin_must_be_the_host() {
        let check = |origin: &str, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().expect("a value"));
            headers.insert(header::HOST, host.parse().expect("a value"));
            check_origin(&headers).is_ok()
        };
        assert!(check_origin(&HeaderMap::new()).is_ok());
        assert!(check("http://127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(!check("http://127.0.0.1:9090", "127.0.0.1:8080"));
        assert!(!check("http://evil.example", "127.0.0.1:8080"));
        assert!(!check("null", "127.0.0.1:8080"));
    }
}
