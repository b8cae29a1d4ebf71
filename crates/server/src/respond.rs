//! From addresses to answers.

use askama::Template;
use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, FromRequest as _, Path, Query, RawForm, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{MethodRouter, any, get, post},
};
use tapline_host_core::{PluginName, metrics::TextFormat};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    action,
    count::count,
    error::PageError,
    form,
    health::{self, Health},
    operator::{OnLoopback, Visitor, visitor},
    page::Page,
    panel,
    request::{self, identified},
    scrape,
    server::Server,
    status,
};

/// What a browser may do with a page: show it. Data blocks of JSON-LD are not scripts and need no permission. Pictures
/// may come from elsewhere, because documents link to them.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' https: data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Seconds after which a client should try again. A full pool is free again after one slow call.
const RETRY_AFTER: &str = "2";

/// What a browser may do with the operator's page beyond that: run the one script that keeps it up to date, and send its
/// forms back.
const POLICY_OF_PANEL: &str = "default-src 'none'; style-src 'self'; img-src data:; script-src 'self'; connect-src \
                               'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The address of the operator's page.
const PANEL: &str = "/_tapline";

/// The form of a button has a token and nothing else.
const MAX_FORM_BYTES: usize = 4 << 10;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(crate) fn router(server: Server) -> Router {
    let routes: [(&str, MethodRouter<Server>); 12] = [
        ("/", get(list)),
        ("/item/{id}", get(item)),
        ("/style.css", get(async || typed(CSS, include_str!("../templates/style.css")))),
        ("/metrics", get(metrics)),
        ("/status", get(status)),
        ("/health/live", get(async || "live\n")),
        ("/health/ready", get(ready)),
        (PANEL, get(operators_page)),
        ("/_tapline/plugins/{plugin}/{action}", post(change).fallback(not_a_button)),
        ("/_tapline/trace", get(traces)),
        ("/_tapline/trace/{id}", get(trace)),
        ("/_tapline/live.js", get(async || typed(SCRIPT, include_str!("../templates/live.js")))),
    ];
    let metrics = server.host().metrics();
    // Each with the handle of its own route, so that no address of a visitor becomes a label.
    let counted = |route| middleware::from_fn_with_state(metrics.route(route), count);
    let identified = |route| middleware::from_fn_with_state(route, identified);
    let mut router = Router::new();
    for (path, handler) in routes {
        router = router.route(path, handler.layer(counted(Some(path))).layer(identified(Some(path))));
    }
    router
        .fallback_service(any(nowhere).layer(counted(None)).layer(identified(None)).with_state(server.clone()))
        .with_state(server)
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(middleware::from_fn(protect))
}

fn who(server: &Server, on_loopback: Option<Extension<OnLoopback>>, headers: &HeaderMap) -> Visitor {
    visitor(server.config().operator_token.as_ref(), on_loopback.is_some(), headers)
}

async fn list(State(server): State<Server>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let page = query.iter().find(|(key, _)| key == "page").and_then(|(_, value)| value.parse().ok()).unwrap_or(1);
    show(&server, server.list_page(page).await)
}

async fn item(
    State(server): State<Server>,
    on_loopback: Option<Extension<OnLoopback>>,
    Path(id): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let explain = query.iter().any(|(key, _)| key == "explain");
    // A stranger who asks for more gets the page like everybody.
    let page = if explain && who(&server, on_loopback, &headers) == Visitor::Operator {
        server.explained_page(&id).await
    } else {
        server.item_page(&id).await
    };
    show(&server, page)
}

/// A page, with what its parts took.
fn show(server: &Server, page: Result<Page, PageError>) -> Response {
    match page {
        Ok(page) => {
            let timing = page.server_timing();
            let mut response = typed(HTML, page.html);
            if let Ok(timing) = HeaderValue::from_str(&timing) {
                response.headers_mut().insert(HeaderName::from_static("server-timing"), timing);
            }
            response
        }
        Err(error) => refuse(server, &error),
    }
}

async fn metrics(State(server): State<Server>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = TextFormat::for_accept(accept);
    scrape::answer(&server, format).await
}

async fn status(State(server): State<Server>) -> Response {
    match aside(&server, |server| status::document(server).to_string()).await {
        Ok(document) => typed("application/json", document),
        Err(response) => response,
    }
}

/// Work that takes longer the more plugins there are, away from the threads that answer others.
async fn aside<T: Send + 'static>(
    server: &Server,
    work: impl FnOnce(&Server) -> T + Send + 'static,
) -> Result<T, Response> {
    let worker = server.clone();
    spawn_blocking(move || work(&worker)).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "an answer could not be made");
        broken(server)
    })
}

async fn ready(State(server): State<Server>) -> Response {
    let (health, report) = health::report(&server).await;
    let status = if health == Health::Unready { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, typed("application/json", report.to_string())).into_response()
}

async fn operators_page(
    State(server): State<Server>,
    on_loopback: Option<Extension<OnLoopback>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    if let Err(response) = for_operators(&server, on_loopback, &headers).await {
        return response;
    }
    let number = query.iter().find(|(key, _)| key == "outcome").and_then(|(_, value)| value.parse().ok());
    let outcome = number.and_then(|number| server.outcomes().get(number));
    match aside(&server, move |server| panel::render(server, outcome)).await {
        Ok(Ok(html)) => {
            let mut response = typed(HTML, html);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY_OF_PANEL));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Ok(Err(error)) => refuse(&server, &error.into()),
        Err(response) => response,
    }
}

async fn traces(
    State(server): State<Server>,
    on_loopback: Option<Extension<OnLoopback>>,
    headers: HeaderMap,
) -> Response {
    if let Err(response) = for_operators(&server, on_loopback, &headers).await {
        return response;
    }
    json(&server.config().traces.summaries())
}

async fn trace(
    State(server): State<Server>,
    on_loopback: Option<Extension<OnLoopback>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(response) = for_operators(&server, on_loopback, &headers).await {
        return response;
    }
    let found = server.config().traces.find(&id);
    if found.is_empty() {
        let text = "No trace of this identifier is kept. The last ones are kept, of requests that called plugins.";
        return message(&server, StatusCode::NOT_FOUND, "Not found", text);
    }
    json(&found.iter().map(|trace| &**trace).collect::<Vec<_>>())
}

fn json(document: &impl serde::Serialize) -> Response {
    match serde_json::to_string(document) {
        Ok(text) => {
            let mut response = typed("application/json", text);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => {
            tracing::error!(%error, "a document could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The error is what everybody else gets.
async fn for_operators(
    server: &Server,
    on_loopback: Option<Extension<OnLoopback>>,
    headers: &HeaderMap,
) -> Result<(), Response> {
    match who(server, on_loopback, headers) {
        Visitor::Operator => Ok(()),
        Visitor::NeedsToken => {
            let text = "This page is for operators: any user name, and the operator's token as the password.";
            let mut response = message(server, StatusCode::UNAUTHORIZED, "For operators", text);
            let challenge = HeaderValue::from_static("Basic realm=\"Tapline\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            Err(response)
        }
        // As if there were no such page.
        Visitor::Stranger => Err(nowhere(State(server.clone())).await),
    }
}

/// A button of the operator's page. The answer leads back to that page, which says what became of it.
async fn change(
    State(server): State<Server>,
    on_loopback: Option<Extension<OnLoopback>>,
    Path((plugin, action)): Path<(String, String)>,
    request: Request,
) -> Response {
    if let Err(response) = for_operators(&server, on_loopback, request.headers()).await {
        return response;
    }
    if let Err(foreign) = form::check_origin(request.headers()) {
        return forbid(&server, &foreign);
    }
    let form = match timeout(server.config().client_timeout, RawForm::from_request(request, &server)).await {
        Ok(Ok(RawForm(form))) => form,
        Ok(Err(rejection)) => return rejection.into_response(),
        Err(_elapsed) => {
            let text = "Nothing was changed: the form did not arrive in time.";
            return message(&server, StatusCode::REQUEST_TIMEOUT, "Too slow", text);
        }
    };
    if let Err(foreign) = form::check_token(server.form_token(), &form) {
        return forbid(&server, &foreign);
    }
    let Ok(action) = action.parse() else {
        let text = "Nothing was changed: a plugin can be enabled, disabled and reloaded.";
        return message(&server, StatusCode::NOT_FOUND, "No such action", text);
    };
    let outcome = match PluginName::new(&plugin) {
        Ok(plugin) => action::act(&server, &plugin, action).await,
        Err(_) => None,
    };
    match outcome {
        Some(outcome) => {
            let number = server.outcomes().note(outcome);
            Redirect::to(&format!("{PANEL}?outcome={number}#outcome")).into_response()
        }
        None => {
            let text =
                "Nothing was changed: no plugin of this name is loaded. The page for operators has those that are.";
            message(&server, StatusCode::NOT_FOUND, "No such plugin", text)
        }
    }
}

async fn not_a_button(State(server): State<Server>) -> Response {
    let text = "Nothing was changed: this address takes what a button of the page for operators sends.";
    message(&server, StatusCode::METHOD_NOT_ALLOWED, "Not a page", text)
}

fn forbid(server: &Server, foreign: &form::Foreign) -> Response {
    tracing::warn!(?foreign, "a form was not taken");
    message(server, StatusCode::FORBIDDEN, "Not from this page", &foreign.to_string())
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
        busy if busy.is_busy() => {
            tracing::warn!(error = error as &dyn std::error::Error, "refused a page");
            let text = "The server has more to do than it can. Please try again in a moment.";
            try_again(message(server, StatusCode::SERVICE_UNAVAILABLE, "Busy", text))
        }
        _ => {
            tracing::error!(error = error as &dyn std::error::Error, "a page could not be made");
            broken(server)
        }
    }
}

fn broken(server: &Server) -> Response {
    let text = "The page could not be made. The operator finds the reason in the log.";
    message(server, StatusCode::INTERNAL_SERVER_ERROR, "Something is broken", text)
}

/// The same answer, with the time after which another one can be hoped for.
pub(crate) fn try_again(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    response
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    site: &'a str,
    title: &'a str,
    text: &'a str,
    /// What the reader can tell the operator, who finds it in the log.
    request: Option<String>,
}

fn message(server: &Server, status: StatusCode, title: &str, text: &str) -> Response {
    let request = request::id().filter(|_| status.is_server_error()).map(|id| id.to_string());
    match (Message { site: &server.config().title, title, text, request }).render() {
        Ok(html) => (status, typed(HTML, html)).into_response(),
        Err(_) => status.into_response(),
    }
}

pub(crate) fn typed(content_type: &'static str, body: impl IntoResponse) -> Response {
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
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
