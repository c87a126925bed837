//! HTTP as a client: [`client`] and [`local_client`] are the one place where one is built, so that all of them trust
//! the same and give up in time, and [`body`] reads a bounded answer. TLS is rustls over aws-lc-rs, with the roots of the system;
//! proxies are taken from the environment (`HTTPS_PROXY` and its kin).

use std::{error::Error, fmt::Write, time::Duration};

use reqwest::{Client, ClientBuilder, Response, redirect::Policy};

use super::pinned;
use crate::wire::certificate::Certificate;

pub use reqwest::Url;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{0}")]
    Failed(String),
    #[error("the answer is HTTP {0}, where 200 is due")]
    Status(u16),
    #[error("the answer has more than {0} octets")]
    TooLong(usize),
}

impl From<reqwest::Error> for HttpError {
    /// The library's message is in its sources. Without the URL, which may hold a password.
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let _ = write!(text, ": {error}");
            source = error.source();
        }
        Self::Failed(text)
    }
}

/// An http or https URL with a host, or what is wrong with it.
pub fn url(text: &str) -> Result<Url, String> {
    let wrong = |what: &str| format!("{what}; give one such as \"http://host.example/path\"");
    let url = Url::parse(text).map_err(|error| wrong(&format!("is no URL: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(wrong(&format!("is no http or https URL, but `{other}`"))),
    }
}

/// The same, of the configuration: what is wrong names the text, but for what stands where a password may.
pub fn configured(text: &str) -> Result<Url, String> {
    let shown = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    url(text).map_err(|what| format!("`{shown}` {what}"))
}

/// How people see it: without its password.
pub fn shown(url: &Url) -> Url {
    let mut url = url.clone();
    let _ = url.set_password(None);
    url
}

/// A client whose requests take at most `time` in all and follow so many redirects. Build one when it is needed:
/// the roots are those of that moment.
pub fn client(time: Duration, redirects: usize) -> Result<Client, HttpError> {
    let policy = || match redirects {
        // Then the redirect itself is the answer.
        0 => Policy::none(),
        most => Policy::limited(most),
    };
    let builder = || -> ClientBuilder {
        Client::builder()
            .timeout(time)
            .redirect(policy())
            .user_agent(concat!("gnomon/", env!("CARGO_PKG_VERSION")))
    };
    // A host without any root certificates still has plain HTTP; TLS then trusts nobody.
    let client = builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build());
    Ok(client?)
}

/// A client for the appliance on this host: the same, but past any proxy, and by TLS only to who has `certificate`.
pub fn local_client(
    time: Duration,
    certificate: Option<&Certificate>,
) -> Result<Client, HttpError> {
    let builder = Client::builder().timeout(time).no_proxy();
    let builder = match certificate {
        None => builder.tls_certs_only([]),
        Some(certificate) => {
            let tls = pinned::tls_for(certificate.der());
            let tls = tls.map_err(|error| HttpError::Failed(error.to_string()))?;
            builder.tls_backend_preconfigured(tls)
        }
    };
    Ok(builder.build()?)
}

/// The whole body of an answer with status 200.
pub async fn body(mut response: Response, longest: usize) -> Result<Vec<u8>, HttpError> {
    if response.status() != 200 {
        return Err(HttpError::Status(response.status().as_u16()));
    }
    // What says that it is too long need not be read.
    let announced = response.content_length().unwrap_or_default();
    if usize::try_from(announced).map_or(true, |announced| announced > longest) {
        return Err(HttpError::TooLong(longest));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > longest {
            return Err(HttpError::TooLong(longest));
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let url = url("https://u:p@[::1]:8443/tsa?x=1").unwrap();
        assert_eq!(shown(&url).as_str(), "https://u@[::1]:8443/tsa?x=1");
        let wrong = configured("ftp://user:hidden@tsa.example/").unwrap_err();
        assert!(
            wrong.starts_with("`tsa.example/` is no http") && !wrong.contains("hidden"),
            "{wrong}"
        );
    }

    #[test]
    fn only_urls_that_can_be_asked_are_taken() {
        for good in ["http://tsa.example", "https://u:p@[::1]:8443/tsa?x=1"] {
            assert!(url(good).is_ok(), "{good}");
        }
        for wrong in ["", "tsa.example", "ftp://tsa.example/", "http://", "/tsa"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
