//! Whether a form that was sent comes from a page of this server.
//!
//! A browser that is an operator sends what any page tells it to send, with the operator's password. So a form carries a
//! token that only a page of this process has, and a browser that says where a form comes from must name this server.

use std::fmt;

use axum::http::{HeaderMap, HeaderName, header};

use crate::operator::is_same;

/// Whatever a browser knows about the page that sends a form, in relation to this server.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the forms of this process carry. Another start has another one.
#[derive(Clone)]
pub(crate) struct FormToken(String);

impl FormToken {
    /// `None`: the system gives no random bytes. Then no form is taken.
    pub(crate) fn new() -> Option<Self> {
        let mut bytes = [0_u8; 32];
        match getrandom::fill(&mut bytes) {
            Ok(()) => Some(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())),
            Err(error) => {
                tracing::error!(%error, "the system gives no random bytes: nothing can be changed on the operator's page");
                None
            }
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for FormToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormToken(..)")
    }
}

/// Why a form was not taken. Whoever sent it has to act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// The browser says that a page of another site sent it.
    Site,
    /// The page that sent it has another address than the one that was asked.
    Origin { from: String, asked: String },
    /// It carries no token, or one of another process.
    Token,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site => f.write_str(
                "Nothing was changed: your browser says that another site sent this. If you did not mean to change anything, \
                 do not trust that site.",
            ),
            Self::Origin { from, asked } => write!(
                f,
                "Nothing was changed: this came from a page at {from}, and was sent to {asked}. A proxy in between has to \
                 pass the Host header on."
            ),
            Self::Token => f.write_str(
                "Nothing was changed: this came from a page of an earlier run of the server, or from none. Open the page for \
                 operators again, and press the button there.",
            ),
        }
    }
}

/// Checks what the browser says about the page that sent a form. Programs say nothing, which is no reason to refuse them.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), Foreign> {
    // More than one, or one that is no text, is nothing that a browser sends.
    let says = |name: &HeaderName| {
        let all: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
        (!all.is_empty()).then(|| all.join(", "))
    };
    if says(&SEC_FETCH_SITE).is_some_and(|site| site != "same-origin") {
        return Err(Foreign::Site);
    }
    let Some(from) = says(&header::ORIGIN) else { return Ok(()) };
    let asked = says(&header::HOST).unwrap_or_default();
    // Without the scheme: behind a proxy it is the proxy's.
    match from.split_once("://") {
        Some(("http" | "https", host)) if host.eq_ignore_ascii_case(&asked) => Ok(()),
        _ => Err(Foreign::Origin { from, asked }),
    }
}

/// Checks the token in the body of a form.
pub(crate) fn check_token(expected: Option<&FormToken>, form: &[u8]) -> Result<(), Foreign> {
    let shown = form_urlencoded::parse(form).find(|(name, _)| name == "token");
    match (expected, shown) {
        (Some(expected), Some((_, shown))) if is_same(&shown, expected.as_str()) => Ok(()),
        _ => Err(Foreign::Token),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(headers: &[(&'static str, &[u8])]) -> Result<(), Foreign> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        check_origin(&map)
    }

    #[test]
    fn browsers_have_to_name_this_server() {
        let host = ("host", &b"localhost:8380"[..]);
        for good in [
            &[host][..],
            &[host, ("origin", b"http://localhost:8380")],
            &[host, ("origin", b"https://LOCALHOST:8380")],
            &[host, ("origin", b"http://localhost:8380"), ("sec-fetch-site", b"same-origin")],
        ] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        for site in [&b"cross-site"[..], b"same-site", b"none", b"", b"\xff", b"SAME-ORIGIN"] {
            let headers = [host, ("origin", b"http://localhost:8380"), ("sec-fetch-site", site)];
            assert_eq!(check(&headers), Err(Foreign::Site), "{site:?}");
        }
        let twice = [host, ("sec-fetch-site", b"same-origin"), ("sec-fetch-site", b"same-origin")];
        assert_eq!(check(&twice), Err(Foreign::Site));
        for origin in [
            &b"null"[..],
            b"",
            b"http://localhost",
            b"http://localhost:8381",
            b"http://evil.example",
            b"http://localhost:8380.evil.example",
            b"http://evil.example/http://localhost:8380",
            b"file://localhost:8380",
            b"localhost:8380",
            b"\xff",
        ] {
            assert!(matches!(check(&[host, ("origin", origin)]), Err(Foreign::Origin { .. })), "{origin:?}");
        }
        assert!(check(&[("origin", b"http://localhost:8380")]).is_err(), "asked without a name");
    }

    #[test]
    fn only_this_process_has_the_token() {
        let (ours, other) = (FormToken::new().unwrap(), FormToken::new().unwrap());
        assert_eq!(ours.as_str().len(), 64);
        let form = |token: &str| format!("a=b&token={token}").into_bytes();
        assert_eq!(check_token(Some(&ours), &form(ours.as_str())), Ok(()));
        for wrong in ["", "0", other.as_str(), &ours.as_str()[1..], &format!("{}0", ours.as_str())] {
            assert_eq!(check_token(Some(&ours), &form(wrong)), Err(Foreign::Token), "{wrong}");
        }
        for wrong in [&b""[..], b"token", b"\xff=\xfe&&&=", b"TOKEN=x"] {
            assert_eq!(check_token(Some(&ours), wrong), Err(Foreign::Token));
        }
        // The first of several counts, and without a token of its own a process takes none.
        assert!(check_token(Some(&ours), &form(&format!("x&token={}", ours.as_str()))).is_err());
        assert!(check_token(None, &form("")).is_err());
        assert_eq!(format!("{ours:?}"), "FormToken(..)");
    }
}
