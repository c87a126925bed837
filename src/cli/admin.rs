//! The running appliance, asked on its admin listener: [`ask`].

use std::time::Duration;

use hyper::Method;

use crate::{
    config::{Config, Problem},
    io::http_client::{self, HttpError},
};

/// It answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// No answer is near that long.
const LONGEST: usize = 1 << 20;

/// What the appliance of this configuration answers to `method` at `path`.
pub fn ask(config: &Config, method: Method, path: &str) -> Result<Vec<u8>, Vec<Problem>> {
    let wrong = |what: String| vec![Problem::new(&config.file, "admin", what)];
    let admin = config
        .admin
        .ok_or_else(|| wrong("not set, so that the appliance cannot be asked".to_owned()))?;
    answer(method, &format!("http://{admin}{path}"))
        .map_err(|error| wrong(format!("{admin}: {error}; is the appliance running?")))
}

fn answer(method: Method, url: &str) -> Result<Vec<u8>, HttpError> {
    let url = http_client::url(url).map_err(HttpError::Failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| HttpError::Failed(error.to_string()))?;
    runtime.block_on(async {
        let client = http_client::local_client(PATIENCE)?;
        http_client::body(client.request(method, url).send().await?, LONGEST).await
    })
}
