//! By what name the admin listener may be asked: [`OwnNames`]. An operator's browser can be led here by any page: the
//! page's own name is made to resolve to this address (DNS rebinding), and then its scripts read whatever is told here.
//! Such a request gives the page's name as Host, so names that are not ours are turned away.
//!
//! - An address, `localhost`, this host's name and those of `admin_names` are ours. No page can have its name resolved
//!   to an address that is typed as one.
//! - Without Host (HTTP/1.0) it is no browser.
//! - `/livez`, `/readyz` and `/metrics` are for programs, which come by any name, and tell little; `/issued/NAME` has a
//!   token that no page knows.
//! - A page posts to an address without asking anybody, and says where it comes from (Fetch, "Origin header"). No page
//!   has anything to post here.

use std::net::{IpAddr, Ipv6Addr};

use hyper::{
    Method, Request, StatusCode,
    header::{HOST, ORIGIN},
};

use super::{Answer, plain};

/// The names that are ours, in lower case.
#[derive(Debug, Clone, Default)]
pub struct OwnNames(Vec<String>);

impl OwnNames {
    /// `configured`, `localhost`, and what the kernel calls this host.
    pub fn new(configured: &[String]) -> Self {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().into_owned();
        let names = configured.iter().cloned().chain([host, "localhost".into()]);
        Self(names.map(|name| bare(&name).to_ascii_lowercase()).collect())
    }

    /// What a request gets that a page from elsewhere may be behind.
    pub fn refusal<B>(&self, request: &Request<B>) -> Option<Answer> {
        let path = request.uri().path();
        if request.method() == Method::POST && request.headers().contains_key(ORIGIN) {
            return Some(plain(StatusCode::FORBIDDEN, "no page posts here\n"));
        }
        let by_any_name =
            matches!(path, "/livez" | "/readyz" | "/metrics") || path.starts_with("/issued/");
        let (uri, headers) = (request.uri(), request.headers());
        let mut hosts = headers.get_all(HOST).iter().map(|host| host.to_str());
        let ours = |host: &str| self.has(host);
        let is_ours = uri.authority().is_none_or(|host| ours(host.as_str()))
            && hosts.all(|host| host.is_ok_and(ours));
        (!by_any_name && !is_ours).then(|| {
            plain(
                StatusCode::MISDIRECTED_REQUEST,
                "this is not known as a name of the admin listener; use its address, or set `admin_names`\n",
            )
        })
    }

    /// Whether `host`, with or without a port, is an address or one of these names.
    fn has(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            let literal = rest.split_once(']').map(|(address, _)| address);
            return literal.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        }
        let name = host.split_once(':').map_or(host, |(name, _)| name);
        name.parse::<IpAddr>().is_ok()
            || self
                .0
                .iter()
                .any(|own| own.eq_ignore_ascii_case(bare(name)))
    }
}

/// Without the dot that ends a complete name.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let names = OwnNames::new(&["TSA1.example".into()]);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refusal = names.refusal(&request.body(()).unwrap());
        refusal.map(|answer| answer.status().as_u16())
    }

    #[test]
    fn addresses_and_own_names_pass() {
        let host = rustix::system::uname();
        let host = host.nodename().to_str().unwrap().to_uppercase();
        for host in [
            "127.0.0.1",
            "127.0.0.1:3181",
            "[::1]:3181",
            "[2001:db8::1]",
            "localhost:3181",
            "LocalHost.",
            "tsa1.EXAMPLE:3181",
            &host,
        ] {
            assert_eq!(status("GET", "/status", &[("host", host)]), None, "{host}");
        }
        assert_eq!(status("GET", "/status", &[]), None, "HTTP/1.0");
        assert_eq!(status("GET", "https://127.0.0.1:3181/status", &[]), None);
    }

    #[test]
    fn other_names_pass_only_where_programs_come() {
        for host in [
            "evil.example",
            "localhost.evil.example:3181",
            "127.0.0.1.evil.example",
            "tsa1.example.evil.example",
            "evil",
            "[evil]:3181",
            "[::1",
            "",
            ":3181",
            "0x7f000001",
            "2130706433",
        ] {
            let headers = [("host", host)];
            for path in [
                "/",
                "/console",
                "/status",
                "/clock",
                "/crl",
                "/metricsx",
                "/issued",
            ] {
                assert_eq!(status("GET", path, &headers), Some(421), "{host} {path}");
            }
            assert_eq!(status("POST", "/crl/refresh", &headers), Some(421));
            for path in ["/livez", "/readyz", "/metrics", "/issued/ca"] {
                assert_eq!(status("GET", path, &headers), None, "{host} {path}");
            }
        }
        let hosts = [("host", "127.0.0.1"), ("host", "evil.example")];
        assert_eq!(status("GET", "/status", &hosts), Some(421));
        let http2 = status("GET", "https://evil.example/status", &[]);
        assert_eq!(http2, Some(421));
    }

    #[test]
    fn no_page_posts() {
        for origin in ["http://evil.example", "null", "http://127.0.0.1:3181"] {
            let headers = [("host", "127.0.0.1:3181"), ("origin", origin)];
            for path in ["/crl/refresh", "/issued/ca"] {
                assert_eq!(status("POST", path, &headers), Some(403), "{origin} {path}");
            }
            assert_eq!(status("GET", "/status", &headers), None);
        }
        let headers = [("host", "127.0.0.1:3181")];
        assert_eq!(status("POST", "/crl/refresh", &headers), None);
    }
}
