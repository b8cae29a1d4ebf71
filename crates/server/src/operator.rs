//! Who is told what only an operator should see.

use std::fmt;

use axum::http::{HeaderMap, HeaderName, header};
use sha2::{Digest as _, Sha256};

/// Set on every request of a listener that only this machine reaches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnLoopback;

/// What an operator shows to see what others should not. Never written into a log.
#[derive(Clone)]
pub struct OperatorToken(String);

impl From<String> for OperatorToken {
    fn from(token: String) -> Self {
        Self(token)
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(..)")
    }
}

/// What somebody may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visitor {
    /// Everything.
    Operator,
    /// What everybody sees. There is a token that would change that.
    NeedsToken,
    /// What everybody sees.
    Stranger,
}

/// Headers that somebody between us and the visitor adds. Who asks through a proxy is not on this machine, however near the
/// proxy is.
const OF_PROXIES: [HeaderName; 5] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

/// With a token: whoever has it, as a bearer or as the password of any user. Without one: whoever asks a listener that only
/// this machine reaches, directly, and by a name that means this machine. The last keeps other sites out, which can
/// make a browser ask by a name of their own.
pub(crate) fn visitor(token: Option<&OperatorToken>, on_loopback: bool, headers: &HeaderMap) -> Visitor {
    match token {
        Some(token) if shown_token(headers).is_some_and(|shown| is_same(&shown, &token.0)) => Visitor::Operator,
        Some(_) => Visitor::NeedsToken,
        None if on_loopback && !OF_PROXIES.iter().any(|name| headers.contains_key(name)) && names_loopback(headers) => {
            Visitor::Operator
        }
        None => Visitor::Stranger,
    }
}

fn shown_token(headers: &HeaderMap) -> Option<String> {
    let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().to_owned());
    }
    let plain = if scheme.eq_ignore_ascii_case("basic") { decode_base64(value.trim())? } else { return None };
    Some(String::from_utf8(plain).ok()?.split_once(':')?.1.to_owned())
}

/// Compares digests, so that the time says nothing about how much of a guess was right.
pub(crate) fn is_same(shown: &str, token: &str) -> bool {
    Sha256::digest(shown) == Sha256::digest(token)
}

fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for letter in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        held = ((held << 6) | value as u32) & 0xfff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(((held >> bits) & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(token: Option<&str>, on_loopback: bool, headers: &[(&'static str, &str)], expected: Visitor) {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        let token = token.map(|token| OperatorToken::from(token.to_owned()));
        assert_eq!(visitor(token.as_ref(), on_loopback, &headers), expected, "{headers:?}");
    }

    #[test]
    fn this_machine_directly_and_by_its_name() {
        for host in ["localhost", "localhost:8380", "127.0.0.1:8380", "127.1.2.3", "[::1]:8380", "LOCALHOST"] {
            check(None, true, &[("host", host)], Visitor::Operator);
            check(None, false, &[("host", host)], Visitor::Stranger);
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", ""] {
            check(None, true, &[("host", host)], Visitor::Stranger);
        }
        check(None, true, &[], Visitor::Stranger);
        for proxy in ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"] {
            check(None, true, &[("host", "localhost"), (proxy, "x")], Visitor::Stranger);
        }
    }

    #[test]
    fn a_token_opens_and_nothing_else_does() {
        let here = ("host", "localhost");
        check(Some("secret"), true, &[here], Visitor::NeedsToken);
        check(Some("secret"), false, &[("authorization", "Bearer secret")], Visitor::Operator);
        check(Some("secret"), false, &[("authorization", "bearer secret ")], Visitor::Operator);
        // anybody:secret, and :secret
        check(Some("secret"), false, &[("authorization", "Basic YW55Ym9keTpzZWNyZXQ=")], Visitor::Operator);
        check(Some("secret"), false, &[("authorization", "Basic OnNlY3JldA==")], Visitor::Operator);
        for wrong in [
            "Bearer",
            "Bearer ",
            "Bearer secre",
            "Bearer secret2",
            "secret",
            "Basic secret",
            "Basic c2VjcmV0",
            "Basic !",
        ] {
            check(Some("secret"), true, &[here, ("authorization", wrong)], Visitor::NeedsToken);
        }
    }

    #[test]
    fn base64() {
        for (text, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(decode_base64(text).unwrap(), plain.as_bytes());
        }
        assert_eq!(decode_base64("a b"), None);
    }
}
