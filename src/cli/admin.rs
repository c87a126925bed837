//! The running appliance, asked on its admin listener: [`ask`], or [`ask_json`] for what is read. Over TLS it is known
//! by the certificate that the configuration names; where access is restricted, the bearer token in the file that
//! `GNOMON_TOKEN_FILE` names is shown. What nobody may ask by the network is left in its journal's folder: [`leave`].

use std::{path::Path, time::Duration};

use hyper::Method;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{
    config::{AdminConfig, Config, Problem},
    io::{
        http_client::{self, HttpError},
        journal::inbox::{self, Request},
    },
    wire::certificate::Certificate,
};

/// It answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// No answer is near that long.
const LONGEST: usize = 1 << 20;

/// In the environment: the file with the token to show.
const TOKEN_FILE: &str = "GNOMON_TOKEN_FILE";

/// What the appliance of this configuration answers to `method` at `path`.
pub fn ask(config: &Config, method: Method, path: &str) -> Result<Vec<u8>, Vec<Problem>> {
    let wrong = |field: &str, what: String| vec![Problem::new(&config.file, field, what)];
    let Some(admin) = &config.admin else {
        let what = "not set, so that the appliance cannot be asked".to_owned();
        return Err(wrong("admin", what));
    };
    let token = token().map_err(|what| wrong("admin.access", what))?;
    let certificate = certificate(admin).map_err(|what| wrong("admin.certificate", what))?;
    let scheme = if certificate.is_some() {
        "https"
    } else {
        "http"
    };
    let url = format!("{scheme}://{}{path}", admin.listen);
    answer(method, &url, certificate.as_ref(), token.as_ref()).map_err(|error| {
        let listen = admin.listen;
        let what = match (&error, &token) {
            (HttpError::Status(401), None) => format!("{error}; access is restricted: name a file with a bearer token that may ask in {TOKEN_FILE}"),
            (HttpError::Status(401), Some(_)) => format!("{error}; the token in the file of {TOKEN_FILE} may not ask there, or not from this address"),
            (HttpError::Status(403), _) => format!("{error}; no rule lets a token ask from this address; ask from another, or add it to a rule of admin.access"),
            (HttpError::Status(429), _) => format!("{error}; the quota of a rule of admin.access is used up; ask later"),
            (HttpError::Failed(_), _) => format!("{listen}: {error}; is the appliance running?"),
            _ => format!("{listen}: {error}"),
        };
        wrong("admin", what)
    })
}

/// What it answers to GET at `path`, which is JSON.
pub fn ask_json(config: &Config, path: &str) -> Result<Value, Vec<Problem>> {
    let answer = ask(config, Method::GET, path)?;
    serde_json::from_slice(&answer).map_err(|error| {
        let what = format!("the answer is not of this version: {error}");
        vec![Problem::new(&config.file, "admin", what)]
    })
}

/// Leaves a request: who may write to the journal's folder may ask.
pub fn leave(config: &Config, request: &Request) -> Result<(), Vec<Problem>> {
    let dir = &config.journal.dir;
    inbox::ask(dir, request).map_err(|error| {
        let what = format!(
            "{}: the request cannot be left there: {error}",
            dir.display()
        );
        vec![Problem::new(&config.file, "journal.dir", what)]
    })
}

/// What the environment names.
fn token() -> Result<Option<Zeroizing<String>>, String> {
    let Some(file) = std::env::var_os(TOKEN_FILE) else {
        return Ok(None);
    };
    let file = Path::new(&file);
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|error| format!("{TOKEN_FILE}: {}: {error}", file.display()))?;
    Ok(Some(Zeroizing::new(text.trim().to_owned())))
}

/// Whom to expect.
fn certificate(admin: &AdminConfig) -> Result<Option<Certificate>, String> {
    let Some((path, _)) = admin.tls() else {
        return Ok(None);
    };
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let content = std::fs::read(path).map_err(|error| said(&error))?;
    let chain = Certificate::read_all(&content).map_err(|error| said(&error))?;
    Ok(chain.into_iter().next())
}

fn answer(
    method: Method,
    url: &str,
    certificate: Option<&Certificate>,
    token: Option<&Zeroizing<String>>,
) -> Result<Vec<u8>, HttpError> {
    let url = http_client::url(url).map_err(HttpError::Failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| HttpError::Failed(error.to_string()))?;
    runtime.block_on(async {
        let client = http_client::local_client(PATIENCE, certificate)?;
        let mut request = client.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token.as_str());
        }
        http_client::body(request.send().await?, LONGEST).await
    })
}
