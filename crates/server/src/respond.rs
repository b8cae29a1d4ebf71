//! From addresses to answers.

use askama::Template;
use axum::{
    Router,
    extract::{Path, Query, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tapline_host_core::metrics::CONTENT_TYPE;

use crate::{error::PageError, server::Server, status};

/// What a browser may do with a page: show it. Data blocks of JSON-LD are not scripts and need no permission. Pictures
/// may come from elsewhere, because documents link to them.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' https: data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Seconds after which a client should try again. A full pool is free again after one slow call.
const RETRY_AFTER: &str = "2";

const HTML: &str = "text/html; charset=utf-8";

pub(crate) fn router(server: Server) -> Router {
    Router::new()
        .route("/", get(list))
        .route("/item/{id}", get(item))
        .route("/style.css", get(async || typed("text/css; charset=utf-8", include_str!("../templates/style.css"))))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(ready))
        .fallback(nowhere)
        .with_state(server)
        .layer(middleware::from_fn(protect))
}

async fn list(State(server): State<Server>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let page = query.iter().find(|(key, _)| key == "page").and_then(|(_, value)| value.parse().ok()).unwrap_or(1);
    match server.list_page(page).await {
        Ok(html) => typed(HTML, html),
        Err(error) => refuse(&server, &error),
    }
}

async fn item(State(server): State<Server>, Path(id): Path<String>) -> Response {
    match server.item_page(&id).await {
        Ok(page) => {
            let mut response = typed(HTML, page.html);
            if let Ok(timing) = HeaderValue::from_str(&page.timing.header()) {
                response.headers_mut().insert(HeaderName::from_static("server-timing"), timing);
            }
            response
        }
        Err(error) => refuse(&server, &error),
    }
}

async fn metrics(State(server): State<Server>) -> Response {
    match server.host().metrics().render() {
        Ok(text) => typed(CONTENT_TYPE, text),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn status(State(server): State<Server>) -> Response {
    typed("application/json", status::document(&server).to_string())
}

async fn ready(State(server): State<Server>) -> Response {
    match server.store().ping().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the database does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
    }
}

async fn nowhere(State(server): State<Server>) -> Response {
    message(&server, StatusCode::NOT_FOUND, "Not found", "There is nothing at this address.")
}

/// A page that tells a reader that there is none, and nothing about the item or the cause.
fn refuse(server: &Server, error: &PageError) -> Response {
    match error {
        PageError::NotFound { .. } => {
            message(server, StatusCode::NOT_FOUND, "Not found", "There is nothing at this address.")
        }
        PageError::Denied { .. } => message(
            server,
            StatusCode::FORBIDDEN,
            "Not for you",
            "You may not see what is at this address, or not yet.",
        ),
        PageError::Busy(_) => {
            tracing::warn!(error = error as &dyn std::error::Error, "refused a page");
            let text = "The server has more to do than it can. Please try again in a moment.";
            let mut response = message(server, StatusCode::SERVICE_UNAVAILABLE, "Busy", text);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            response
        }
        _ => {
            tracing::error!(error = error as &dyn std::error::Error, "a page could not be made");
            let text = "The page could not be made. The operator finds the reason in the log.";
            message(server, StatusCode::INTERNAL_SERVER_ERROR, "Something is broken", text)
        }
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    site: &'a str,
    title: &'a str,
    text: &'a str,
}

fn message(server: &Server, status: StatusCode, title: &str, text: &str) -> Response {
    match (Message { site: &server.config().title, title, text }).render() {
        Ok(html) => (status, typed(HTML, html)).into_response(),
        Err(_) => status.into_response(),
    }
}

fn typed(content_type: &'static str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
